"""Heads on the maps of a frozen network: what each promises, and that each learns."""

import math
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.core.errors import InputError, NoLabels
from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.features.extract import extract_feature_maps
from ilk.diffusion.features.feature_point import FeaturePoint
from ilk.diffusion.features.hooks import Hooks
from ilk.diffusion.heads.attention import (
    AttentionHead,
    ClassTokenEncoder,
    JointNorm,
    TokenProjection,
)
from ilk.diffusion.heads.cnn import CNNHead
from ilk.diffusion.heads.difffeed import DifFeed, choose_feedback_blocks
from ilk.diffusion.heads.difformer import DifFormer
from ilk.diffusion.heads.experts import ExpertLayer, MixtureOfExperts, compute_imbalance
from ilk.diffusion.heads.fit import fit, fit_head, predict_logits, update_bn
from ilk.diffusion.heads.head import FlatHead, flatten_maps
from ilk.diffusion.heads.linear import LinearHead
from ilk.diffusion.heads.mlp import MLPHead
from ilk.diffusion.heads.satdiffuser import GlobalWeightedFusion, LocalWeightedFusion
from ilk.diffusion.networks.unet import UNet
from ilk.training.trainer import Recipe

SHAPES = ((5, 4, 4), (3, 2, 2), (4, 2, 2))
QUICK = Recipe(steps=30, batch_size=32, lr=1e-2, warmup=3)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def toy(n: int = 60, levels: int = 1) -> tuple[list[Tensor], Tensor]:
    """Three classes, each bright in a corner of a channel of its own; maps of any scale."""
    y = torch.arange(n) % 3
    maps = [draw(n, *shape, seed=i) for i, shape in enumerate(SHAPES * levels)]
    for seen in maps:
        for c in range(3):
            seen[y == c, c, :2, :2] += 4
    return [seen * 10.0 ** (i % 3 - 1) + 5 for i, seen in enumerate(maps)], y


HEADS = {
    "linear": (1, lambda: LinearHead(SHAPES[0], 3)),
    "mlp": (1, lambda: MLPHead(SHAPES[0], 3, pool=4, hidden=(16, 16))),
    "cnn": (1, lambda: CNNHead(SHAPES[0], 3, width=16)),
    "attention": (1, lambda: AttentionHead(SHAPES[0], 3, width=16)),
    "difformer": (6, lambda: DifFormer(SHAPES, 2, 3, width=16)),
    "global": (6, lambda: GlobalWeightedFusion(SHAPES, 2, 3, width=8)),
    "local": (6, lambda: LocalWeightedFusion(SHAPES, 2, 3, width=8)),
    "experts": (6, lambda: MixtureOfExperts(SHAPES, 2, 3, width=8, dense_updates=5)),
}


@pytest.mark.parametrize("name", HEADS)
def test_every_head_learns_what_can_be_told_apart(name: str):
    count, build = HEADS[name]
    maps, y = toy(levels=2)
    maps = maps[:count]
    head = fit_head(build, [m[:40] for m in maps], y[:40], QUICK)
    found = predict_logits(head, maps)
    assert found.shape == (60, 3)
    assert torch.equal(found.argmax(1)[:40], y[:40])
    assert (found.argmax(1) == y)[40:].double().mean() > 0.9
    again = fit_head(build, [m[:40] for m in maps], y[:40], QUICK)
    assert torch.equal(predict_logits(again, maps), found)  # one seed, one head
    alone = torch.cat([predict_logits(head, [m[i : i + 1] for m in maps]) for i in range(6)])
    torch.testing.assert_close(alone, found[:6], rtol=1e-4, atol=1e-4)


def test_maps_are_standardised_channel_by_channel():
    maps, _ = toy()
    x = flatten_maps(maps)
    packed = FlatHead(GlobalWeightedFusion(SHAPES, 1, 3, width=8), [m.shape[1:] for m in maps], x)
    for seen, raw in zip(packed.split((x - packed.centre) * packed.scale), maps, strict=True):
        mean, deviation = raw.mean((0, 2, 3)), raw.std((0, 2, 3), correction=0)
        by_hand = (raw - mean[:, None, None]) / deviation[:, None, None]
        torch.testing.assert_close(seen, by_hand, rtol=1e-4, atol=1e-4)
    blank = FlatHead(LinearHead((2, 2, 2), 3), [(2, 2, 2)], torch.full((4, 8), 7.0))
    assert torch.equal(blank.scale, torch.zeros(8))


def test_a_linear_head_pools_and_multiplies():
    head = LinearHead((5, 4, 4), 3, pool=2)
    with torch.no_grad():
        head.out.weight.copy_(draw(3, 20))
    seen = draw(6, 5, 4, 4, seed=1)
    rows = seen.view(6, 5, 2, 2, 2, 2).mean((3, 5)).flatten(1)
    torch.testing.assert_close(head(seen), rows @ draw(3, 20).T + head.out.bias)
    assert LinearHead((5, 2, 2), 3, pool=4).pool == 2


def test_the_joint_norm_is_over_channels_and_places_together():
    seen = draw(6, 5, 4, 4) * torch.arange(1, 6.0)[:, None, None]
    found = JointNorm((5, 4, 4))(seen)
    rows = seen.flatten(1)
    by_hand = (rows - rows.mean(1, keepdim=True)) / rows.std(1, correction=0, keepdim=True)
    torch.testing.assert_close(found.flatten(1), by_hand, rtol=1e-4, atol=1e-4)


def test_attention_does_not_see_the_order_of_tokens():
    torch.manual_seed(0)
    summary, tokens = ClassTokenEncoder(16), draw(2, 9, 16)
    assert torch.equal(summary.cls, torch.zeros(1, 1, 16))
    order = torch.randperm(9, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(summary(tokens), summary(tokens[:, order]), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(summary(tokens), summary(tokens.roll(1, 2)), atol=1e-2)
    head, seen = AttentionHead((5, 4, 4), 3, width=16), draw(2, 5, 4, 4)
    torch.testing.assert_close(head(seen), head(seen.flip(2)), rtol=1e-4, atol=1e-5)
    # A place of its own in the norm's gain is the one thing that knows where a token was.
    with torch.no_grad():
        head.tokens.norm.gain.mul_(torch.linspace(0.5, 2, 80))
    assert not torch.allclose(head(seen), head(seen.flip(2)), atol=1e-3)


def test_attention_is_that_of_torchs_own_layer():
    torch.manual_seed(0)
    ours = ClassTokenEncoder(16, heads=4, depth=1).layers[0]
    theirs = nn.TransformerEncoderLayer(
        16, 4, 64, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    pairs = {
        theirs.self_attn.in_proj_weight: ours.qkv.weight,
        theirs.self_attn.out_proj.weight: ours.proj.weight,
        theirs.self_attn.out_proj.bias: ours.proj.bias,
        theirs.linear1.weight: ours.fc1.weight,
        theirs.linear1.bias: ours.fc1.bias,
        theirs.linear2.weight: ours.fc2.weight,
        theirs.linear2.bias: ours.fc2.bias,
    }
    with torch.no_grad():
        for to, value in pairs.items():
            to.copy_(value)
        theirs.self_attn.in_proj_bias.zero_()
    x = draw(2, 9, 16)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)
    assert ours.qkv.bias is None


def test_tokens_are_at_most_so_many_a_side():
    assert TokenProjection((3, 32, 32), 8)(draw(1, 3, 32, 32)).shape == (1, 256, 8)
    assert TokenProjection((3, 4, 4), 8)(draw(1, 3, 4, 4)).shape == (1, 16, 8)


def test_difformer_of_one_block_at_one_level_is_the_attention_head():
    torch.manual_seed(0)
    many, one = DifFormer([(5, 4, 4)], 1, 3, width=16), AttentionHead((5, 4, 4), 3, width=16)
    state = {name.replace("tokens.0.", "tokens."): v for name, v in many.state_dict().items()}
    one.load_state_dict(state)
    seen = draw(2, 5, 4, 4)
    torch.testing.assert_close(many(seen), one(seen))


def test_difformer_sums_up_every_level_with_the_same_layers():
    torch.manual_seed(0)
    head, maps = DifFormer(SHAPES, 2, 3, width=16), toy(levels=2)[0]
    weight, bias = head.out.weight, head.out.bias
    sums = [
        head.summary(
            torch.cat([t(m) for t, m in zip(head.tokens, maps[at : at + 3], strict=True)], 1)
        )
        for at in (0, 3)
    ]
    by_hand = sums[0] @ weight[:, :16].T + sums[1] @ weight[:, 16:].T + bias
    torch.testing.assert_close(head(*maps), by_hand)
    with pytest.raises(InputError, match="5 maps for 3 blocks at 2 levels"):
        head(*maps[:5])


def test_one_stream_globally_weighted_is_that_stream():
    torch.manual_seed(0)
    head, seen = GlobalWeightedFusion([(5, 4, 4)], 1, 3, width=8), draw(2, 5, 4, 4)
    stream = head.bottlenecks[0](seen)
    torch.testing.assert_close(head.fuse([stream])[0], stream)
    torch.testing.assert_close(head(seen), head.out(stream.mean((2, 3))))


def test_global_weights_are_shared_out_over_all_sizes_and_levels():
    torch.manual_seed(0)
    head, maps = GlobalWeightedFusion(SHAPES, 2, 3, width=8), toy(levels=2)[0]
    with torch.no_grad():
        head.weights.copy_(torch.log(torch.arange(1, 7.0)))
    s = head.project_streams(maps)
    small = (2 * s[1] + 3 * s[2] + 5 * s[4] + 6 * s[5]) / 21
    large = (1 * s[0] + 4 * s[3]) / 21
    torch.testing.assert_close(head.fuse(s), [small, large])
    up = functional.interpolate(small, size=(4, 4), mode="bilinear")
    torch.testing.assert_close(head(*maps), head.out((up + large).mean((2, 3))))


def test_local_weights_sum_to_one_at_each_place():
    torch.manual_seed(0)
    head, maps = LocalWeightedFusion(SHAPES, 2, 3, width=8), toy(levels=2)[0]
    s = head.project_streams(maps)
    here = torch.stack([s[i] for i in (1, 2, 4, 5)], 1)
    shares = head.compute_weights(0, here)
    assert shares.shape == (60, 4, 2, 2)
    torch.testing.assert_close(shares.sum(1), torch.ones(60, 2, 2))
    assert float(shares.detach().std(3).max()) > 1e-3  # they differ from place to place
    by_hand = sum(shares[:, i, None] * here[:, i] for i in range(4))
    torch.testing.assert_close(head.fuse(s)[0], by_hand)


def test_experts_all_work_at_first_then_the_best_two_of_each_image():
    torch.manual_seed(0)
    head, maps = MixtureOfExperts(SHAPES, 2, 3, width=8, dense_updates=2).train(), toy(levels=2)[0]
    for update in range(4):
        head(*maps)
        for shares in head.gate_weights:
            assert torch.equal((shares > 0).sum(1), torch.full((60,), 8 if update < 2 else 2))
            torch.testing.assert_close(shares.sum(1), torch.ones(60))
    assert int(head.updates) == 4
    fresh = MixtureOfExperts(SHAPES, 2, 3, width=8).eval()
    fresh(*maps)
    assert all(bool(((shares > 0).sum(1) == 2).all()) for shares in fresh.gate_weights)
    assert int(fresh.updates) == 0


def test_a_mixture_is_the_weighted_sum_of_its_best_experts():
    torch.manual_seed(0)
    scale, x = ExpertLayer(6, 8), draw(5, 6, 2, 2)
    with torch.no_grad():
        scale.log_temperature.fill_(math.log(0.1))
    gate = scale.gate(x).mean((2, 3)) / 0.1
    top, which = gate.topk(2, 1)
    by_hand = torch.stack(
        [
            sum(
                w * scale.experts[int(e)](x[i : i + 1])[0]
                for w, e in zip(top[i].softmax(0), which[i], strict=True)
            )
            for i in range(5)
        ]
    )
    torch.testing.assert_close(scale(x, scale.compute_gates(x, dense=False)), by_hand)
    every = gate.softmax(1)
    whole = sum(every[:, i, None, None, None] * scale.experts[i](x) for i in range(8))
    torch.testing.assert_close(scale(x, scale.compute_gates(x, dense=True)), whole)


def test_levels_of_a_mixture_are_averaged():
    torch.manual_seed(0)
    head, maps = MixtureOfExperts(SHAPES, 2, 3, width=8).eval(), toy(levels=2)[0]
    s = head.project_streams(maps)
    mixture = head.mixtures[0]  # of size 2
    levels = [torch.cat([s[i], s[i + 1]], 1) for i in (1, 4)]
    by_hand = sum(mixture(x, mixture.compute_gates(x, dense=False)) for x in levels) / 2
    torch.testing.assert_close(head.fuse(s)[0], by_hand)


def test_imbalance_is_punished_when_asked_and_evened_out_by_training():
    assert float(compute_imbalance(torch.full((6, 8), 1 / 8))) == 0
    assert float(
        compute_imbalance(torch.eye(8)[torch.zeros(6, dtype=torch.int64)])
    ) == pytest.approx(7)
    maps, y = toy()

    def use(balance: float) -> float:
        def build() -> MixtureOfExperts:
            head = MixtureOfExperts(SHAPES[1:], 1, 3, width=8, dense_updates=20, balance=balance)
            with torch.no_grad():
                for mixture in head.mixtures:
                    mixture.gate.bias[0] += 1.0  # one expert would do most of the work
            return head

        head = fit_head(build, maps[1:], y, QUICK)
        predict_logits(head, maps[1:])
        return float(
            torch.stack([compute_imbalance(gates) for gates in head.head.gate_weights]).mean()
        )

    assert use(1.0) < 0.5 * use(0.0)


def taps(seed: int = 1) -> Hooks:
    torch.manual_seed(seed)
    trunk = UNet(1, 8, 0, width=8, levels=(1, 2))
    with torch.no_grad():
        for weight in trunk.parameters():
            weight += 0.1 * torch.randn_like(weight)
    return Hooks(Denoiser(trunk.eval(), (1, 8, 8), ()))


def test_feedback_that_gives_nothing_leaves_the_pass_as_it_was():
    watched, x = taps(), draw(5, 1, 8, 8).clamp(-1, 1)
    torch.manual_seed(0)
    head = DifFeed(watched, FeaturePoint(7, 0.4, 4), 3, width=16).eval()
    assert [int(b) for b in head.feedback] == choose_feedback_blocks(watched) == [6, 8]
    plain = extract_feature_maps(watched, x, [FeaturePoint(7, 0.4, 8)])[0]
    torch.testing.assert_close(head(x), head.head(plain))
    with torch.no_grad():
        head.feedback["6"].gain.fill_(1.0)
    assert not torch.allclose(head(x), head.head(plain), atol=1e-3)
    with torch.no_grad():
        head.feedback["6"].project.weight.zero_()  # batch norm of nothing, ReLU of nothing
    torch.testing.assert_close(head(x), head.head(plain))


def test_feedback_is_added_to_the_mirror_block_of_the_second_pass():
    watched, x = taps(), draw(5, 1, 8, 8).clamp(-1, 1)
    head = DifFeed(watched, FeaturePoint(4, 0.4, 4), 3, (6,), width=16).eval()
    layer = head.feedback["6"]
    with torch.no_grad():
        layer.gain.fill_(0.7)
    noisy, sigma = x + 0.4 * head.noise, torch.full((5,), 0.4)
    back = head.run_first_pass(noisy, sigma)
    assert list(back) == [4]  # 2 * 5 - 6
    torch.testing.assert_close(
        back[4], extract_feature_maps(watched, x, [FeaturePoint(6, 0.4, 4)])[0]
    )
    plain = extract_feature_maps(watched, x, [FeaturePoint(4, 0.4, 4)])[0]
    added = 0.7 * functional.relu(layer.norm(layer.project(back[4])))
    torch.testing.assert_close(head.run_second_pass(noisy, sigma, back), plain + added)


def test_only_head_and_feedback_learn_through_the_frozen_network():
    watched = taps()
    before = {name: v.clone() for name, v in watched.backbone.state_dict().items()}
    x = 0.1 * draw(40, 1, 8, 8)
    y = torch.arange(40) % 2
    x[y == 1, :, :, :4] += 0.6
    head = fit(partial(DifFeed, watched, FeaturePoint(7, 0.4, 4), 2, width=16), x, y, QUICK)
    assert torch.equal(predict_logits(head, x).argmax(1), y)
    assert all(torch.equal(v, before[name]) for name, v in watched.backbone.state_dict().items())
    assert not any(name.startswith("taps") for name in head.state_dict())
    assert all(float(layer.gain.abs()) > 1e-3 for layer in head.feedback.values())
    layer = head.feedback["6"]
    seen = layer.project(extract_feature_maps(watched, x, [FeaturePoint(6, 0.4, 4)])[0])
    torch.testing.assert_close(layer.norm.running_mean, seen.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    alone = torch.cat([predict_logits(head, one[None]) for one in x[:4]])
    torch.testing.assert_close(alone, predict_logits(head, x)[:4], rtol=1e-4, atol=1e-4)


def test_settled_statistics_are_those_of_all_rows():
    layer = nn.Sequential(nn.BatchNorm1d(3))
    x = draw(512, 3) * 4 + 2
    update_bn(layer, x, "cpu")
    torch.testing.assert_close(layer[0].running_mean, x.mean(0), rtol=1e-4, atol=1e-4)
    assert not layer[0].training
    assert layer[0].momentum == 0.1


def test_bad_input(tmp_path: Path):
    maps, y = toy()
    with pytest.raises(NoLabels, match="needs labels and there are none"):
        fit_head(HEADS["linear"][1], maps[:1], torch.full_like(y, -1), QUICK)
    with pytest.raises(InputError, match=r"59 labels for maps of .60. images"):
        fit_head(HEADS["linear"][1], maps[:1], y[:59], QUICK)
    with pytest.raises(InputError, match="heads do not divide a width of 20"):
        AttentionHead((5, 4, 4), 3, width=20)
    with pytest.raises(InputError, match="2 maps for 3 streams"):
        GlobalWeightedFusion(SHAPES, 1, 3, width=8)(*maps[:2])
    with pytest.raises(InputError, match=r"block 4 cannot be fed back: .* 6 to 9"):
        DifFeed(taps(), FeaturePoint(7, 0.4, 4), 3, (4,))
    with pytest.raises(InputError, match="no block 10"):
        DifFeed(taps(), FeaturePoint(10, 0.4, 4), 3)


def test_rows_without_a_label_are_left_out():
    maps, y = toy()
    part = y.clone()
    part[30:] = -1
    some = fit_head(HEADS["linear"][1], maps[:1], part, QUICK)
    same = fit_head(HEADS["linear"][1], [maps[0][:30]], y[:30], QUICK)
    assert torch.equal(predict_logits(some, maps[:1]), predict_logits(same, maps[:1]))
