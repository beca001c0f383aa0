"""What the blocks of a diffusion network give: which they are, in one pass, fixed for good."""

from dataclasses import replace
from threading import Thread

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.core.errors import InputError
from ilk.diffusion.denoiser.external import Epsilon, ExternalDenoiser, Flow, NoiseSchedule
from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.denoiser.protocol import normalize_images
from ilk.diffusion.features.extract import (
    draw_image_noise,
    draw_noise,
    estimate_noise_variance,
    extract_feature_maps,
    extract_features,
    pool_map,
)
from ilk.diffusion.features.feature_point import FeatureConfig, FeaturePoint
from ilk.diffusion.features.hooks import Hooks, extract_maps, list_blocks
from ilk.diffusion.networks.dit import DiT
from ilk.diffusion.networks.unet import UNet

ABAR = (1 - torch.linspace(1e-4, 0.02, 100, dtype=torch.float64)).cumprod(0)


def shaken(module: nn.Module) -> nn.Module:
    """No weight is zero: an untrained block is the identity, which would hide mistakes."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in module.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=generator)
    return module.eval()


def denoiser(kind: str = "unet") -> Denoiser:
    torch.manual_seed(1)
    trunk = (
        UNet(1, 8, 3, width=8, levels=(1, 2))
        if kind == "unet"
        else DiT(1, 8, 3, width=16, depth=3, heads=2, patch=2)
    )
    return Denoiser(shaken(trunk), (1, 8, 8), ("a", "b", "c"))


def images(n: int = 6) -> Tensor:
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_a_unets_blocks_are_counted_as_the_paper_counts_them():
    found = list_blocks(denoiser())
    assert [tap.index for tap in found] == list(range(1, 10))  # 4 skips, the middle, 4 that take
    assert [tap.side for tap in found] == [8, 8, 4, 4, 4, 4, 8, 8, 8]
    assert [tap.channels for tap in found] == [8, 8, 8, 16, 16, 16, 8, 8, 8]
    # The ImageNet network of the paper, in small: 3 sizes, 2 blocks each, a middle, mirrored.
    big = Denoiser(UNet(1, 16, 0, width=8, levels=(1, 1, 2), blocks=2), (1, 16, 16), ())
    taps = Hooks(big)
    assert (len(taps.block_names), taps.middle, taps.mirror_index(12)) == (19, 10, 8)
    assert [tap.side for tap in taps.blocks][10:] == [4, 4, 8, 8, 8, 16, 16, 16, 16]


def test_taps_give_what_a_walk_through_the_network_by_hand_gives():
    network = denoiser()
    net, x, sigma = network.network, images(), 0.7
    drawn = draw_noise((1, 8, 8), sigma)
    total = (sigma**2 + network.sigma_data**2) ** 0.5
    found = extract_maps(Hooks(network), x, sigma, drawn)
    with torch.no_grad():
        e = net.embedding(torch.full((6,), sigma).log(), torch.full((6,), 3))
        one = net.proj_in((x + sigma * drawn) / total)
        two = net.down[0](one, e)
        three = net.down[1](two)
        four = net.down[2](three, e)
        five = net.middle[2](net.middle[1](net.middle[0](four, e)), e)
        six = net.up[0](torch.cat([five, four], 1), e)
        seven = net.up[1](torch.cat([six, three], 1), e)
        seven = net.up[2](functional.interpolate(seven, scale_factor=2.0))
        eight = net.up[3](torch.cat([seven, two], 1), e)
        nine = net.up[4](torch.cat([eight, one], 1), e)
    walk = (one, two, three, four, five, six, seven, eight, nine)
    assert sorted(found) == list(range(1, 10))
    for index, by_hand in enumerate(walk, 1):
        torch.testing.assert_close(found[index], by_hand)


def test_a_transformers_tokens_are_put_back_in_their_places():
    network, x = denoiser("dit"), images(2)
    taps = Hooks(network)
    assert [(t.channels, t.side) for t in taps.blocks] == [(16, 4)] * 3
    seen = {}
    hook = network.network.layers[1].register_forward_hook(
        lambda _m, _i, out: seen.update(tokens=out)
    )
    found = extract_maps(taps, x, 0.5, draw_noise((1, 8, 8), 0.5), (2, 3))
    hook.remove()
    assert list(found) == [2, 3]
    assert torch.equal(found[2][1, :, 3, 1], seen["tokens"][1, 3 * 4 + 1])


def test_the_pass_ends_with_the_last_block_that_is_wanted():
    network = denoiser()
    taps, ran = Hooks(network), []
    _ = taps.blocks  # takes a whole pass, once
    for name, module in network.network.named_modules():
        module.register_forward_hook(lambda *_told, name=name: ran.append(name))
    extract_maps(taps, images(), 0.5, draw_noise((1, 8, 8), 0.5), (5, 2))
    assert "middle.1" in ran
    assert not {"up.0", "proj_out"} & set(ran)


def test_one_pass_a_level_serves_all_blocks(monkeypatch: pytest.MonkeyPatch):
    network = denoiser()
    taps, calls = Hooks(network), []
    points = [FeaturePoint(b, s, p) for b in range(1, 10) for s in (0.2, 0.9) for p in (0, 1, 4)]
    _ = taps.blocks
    plain = Denoiser.denoise
    monkeypatch.setattr(
        Denoiser, "denoise", lambda *told: calls.append(len(told[1])) or plain(*told)
    )
    extract_features(taps, images(), points)
    assert calls == [6, 6]
    extract_features(taps, images(), points, FeatureConfig(draws=3, batch=4))
    assert calls[2:] == [4] * 3 + [2] * 3 + [4] * 3 + [2] * 3


def test_pooling():
    seen = torch.arange(2 * 3 * 4 * 4.0).view(2, 3, 4, 4) ** 1.5
    torch.testing.assert_close(pool_map(seen, 1), seen.mean((2, 3)))
    two = seen.view(2, 3, 2, 2, 2, 2).mean((3, 5)).flatten(1)
    torch.testing.assert_close(pool_map(seen, 2), two)
    assert torch.equal(pool_map(seen, 4), seen.flatten(1))
    both = torch.cat([seen.mean((2, 3)), seen.flatten(2).std(2, correction=0)], 1)
    torch.testing.assert_close(pool_map(seen, 0), both)
    assert pool_map(seen.bfloat16(), 2).dtype == torch.float32


def test_points_stand_side_by_side_and_draws_are_averaged():
    taps, x = Hooks(denoiser()), images()
    a, b = FeaturePoint(6, 0.4, 2), FeaturePoint(2, 0.9, 0)
    both = extract_features(taps, x, [a, b])
    assert both.shape == (6, 16 * 4 + 2 * 8)
    assert torch.equal(
        both, torch.cat([extract_features(taps, x, [a]), extract_features(taps, x, [b])], 1)
    )
    by_hand = [
        pool_map(extract_maps(taps, x, 0.4, draw_noise((1, 8, 8), 0.4, 5, draw), (6,))[6], 2)
        for draw in range(3)
    ]
    mean = extract_features(taps, x, [a], FeatureConfig(seed=5, draws=3))
    torch.testing.assert_close(mean, torch.stack(by_hand).mean(0))
    assert torch.equal(
        extract_feature_maps(taps, x, [a])[0].flatten(1), extract_features(taps, x, [a])
    )


@pytest.mark.parametrize("own", [False, True])
def test_features_are_the_same_every_time_in_any_company(own: bool):
    taps, x = Hooks(denoiser()), images()
    points, reading = (
        [FeaturePoint(7, 0.4, 2), FeaturePoint(5, 2.0, 0)],
        FeatureConfig(per_image_noise=own),
    )
    whole = extract_features(taps, x, points, reading)
    assert torch.equal(whole, extract_features(Hooks(denoiser()), x, points, reading))
    alone = torch.cat(
        [extract_features(taps, one[None], points, reading) for one in x.flip(0)]
    ).flip(0)
    torch.testing.assert_close(alone, whole, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(
        whole, extract_features(taps, x, points, replace(reading, seed=1)), atol=1e-2
    )


def test_noise_hangs_on_seed_level_and_draw_and_if_asked_on_the_image():
    shape = (1, 64, 64)
    first = draw_noise(shape, 0.4)
    assert torch.equal(first, draw_noise(shape, 0.4))
    others = [draw_noise(shape, 0.4, 1), draw_noise(shape, 0.4, 0, 1), draw_noise(shape, 0.4000001)]
    for other in others:
        assert abs(float((first * other).mean())) < 0.08  # 5 standard errors
    assert abs(float(first.std()) - 1) < 0.06
    x = images()
    own = draw_image_noise(x, 0.4)
    assert torch.equal(own[2:3], draw_image_noise(x[2:3], 0.4))
    assert not torch.equal(own[0], own[1])


def test_eight_bit_images_are_those_in_minus_one_to_one():
    x = torch.randint(0, 256, (3, 1, 8, 8), dtype=torch.uint8)
    taps, points = Hooks(denoiser()), [FeaturePoint(6, 0.4, 2)]
    assert float(normalize_images(x).min()) >= -1
    assert torch.equal(
        extract_features(taps, x, points), extract_features(taps, x.float() / 127.5 - 1, points)
    )


class Adds(nn.Module):
    """Block 1 hands the noisy image on; block 2 doubles it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Identity(), nn.Conv2d(1, 1, 1, bias=False)])
        nn.init.constant_(self.layers[1].weight, 2.0)

    def forward(self, z: Tensor, _time: Tensor, _told: Tensor) -> Tensor:
        return self.layers[1](self.layers[0](z))


def adding() -> ExternalDenoiser:
    return ExternalDenoiser(Adds().eval(), Flow(), (1, 8, 8), ("a",), torch.zeros(2))


def test_the_spread_is_the_noises_share_of_the_variance():
    # Block 1 shows (x + sigma n) / (1 + sigma): its variance is that of x, and sigma^2 of noise.
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(400, 1, 8, 8, generator=generator)
    for sigma in (0.5, 2.0):
        told = estimate_noise_variance(Hooks(adding()), x, [FeaturePoint(1, sigma, 8)], draws=24)
        assert told == pytest.approx(sigma**2 / (1 + sigma**2), abs=0.04)
        assert estimate_noise_variance(
            Hooks(adding()), x, [FeaturePoint(1, sigma, 8)], draws=24, config=FeatureConfig(draws=4)
        ) == pytest.approx(sigma**2 / 4 / (1 + sigma**2 / 4), abs=0.04)


def test_several_threads_may_look_at_once():
    taps, x = Hooks(denoiser()), images()
    alone = [extract_features(taps, one[None], [FeaturePoint(9, 0.4, 4)]) for one in x]
    found: dict[int, Tensor] = {}

    def look(i: int) -> None:
        for _ in range(8):
            found[i] = extract_features(taps, x[i : i + 1], [FeaturePoint(9, 0.4, 4)])

    threads = [Thread(target=look, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.allclose(found[i], one, atol=1e-6) for i, one in enumerate(alone))


def test_closing_leaves_the_network_as_it_was():
    network = denoiser()
    taps = Hooks(network)
    taps.close()
    assert not any(module._forward_hooks for module in network.modules())


def foreign(kind: str) -> ExternalDenoiser:
    import diffusers

    torch.manual_seed(0)
    schedule, told = Epsilon(NoiseSchedule.from_alphas_bar(ABAR)), torch.zeros(1)
    if kind == "UNet2DModel":
        net = diffusers.UNet2DModel(
            sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8, 16),
            down_block_types=("DownBlock2D", "AttnDownBlock2D"), norm_num_groups=4,
            up_block_types=("AttnUpBlock2D", "UpBlock2D"), attention_head_dim=8,
        )  # fmt: skip
        return ExternalDenoiser(lambda z, t, _c: net(z, t).sample, schedule, (1, 8, 8), (), told)
    if kind == "UNet2DConditionModel":
        net = diffusers.UNet2DConditionModel(
            sample_size=8, in_channels=4, out_channels=4, block_out_channels=(8, 16),
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), norm_num_groups=4,
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), cross_attention_dim=8,
            attention_head_dim=4, layers_per_block=1,
        )  # fmt: skip
        return ExternalDenoiser(
            lambda z, t, c: net(z, t, c).sample, schedule, (4, 8, 8), (), torch.ones(1, 3, 8)
        )
    if kind == "DiTTransformer2DModel":
        net = diffusers.DiTTransformer2DModel(
            num_attention_heads=2, attention_head_dim=8, in_channels=1, out_channels=1,
            num_layers=3, sample_size=8, patch_size=2, num_embeds_ada_norm=100, norm_num_groups=4,
        )  # fmt: skip
        return ExternalDenoiser(
            lambda z, t, c: net(z, t.long(), c.long()).sample, schedule, (1, 8, 8), (), told
        )
    net = diffusers.SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, out_channels=4, num_layers=2,
        attention_head_dim=8, num_attention_heads=2, joint_attention_dim=16,
        caption_projection_dim=16, pooled_projection_dim=8, pos_embed_max_size=8,
    )  # fmt: skip

    def run(z: Tensor, t: Tensor, c: Tensor) -> Tensor:
        return net(z, c, c[:, 0, :8], t).sample

    return ExternalDenoiser(run, Flow(), (4, 8, 8), (), torch.ones(1, 3, 16))


@pytest.mark.parametrize(
    ("kind", "sides", "channels"),
    [
        ("UNet2DModel", [8, 8, 8, 4, 4, 4, 4, 4, 4, 8, 8, 8, 8], [8] * 4 + [16] * 6 + [8] * 3),
        ("UNet2DConditionModel", [8, 8, 4, 4, 4, 4, 8, 8, 8], [8, 8, 8, 16, 16, 16, 16, 8, 8]),
        ("DiTTransformer2DModel", [4, 4, 4], [16] * 3),
        ("SD3Transformer2DModel", [4, 4], [16] * 2),
    ],
)
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_networks_of_the_diffusers_library(kind: str, sides: list[int], channels: list[int]):
    from helpers.tiny_diffusers import library

    library()
    network = foreign(kind)
    taps = Hooks(network)
    assert [tap.side for tap in taps.blocks] == sides
    assert [tap.channels for tap in taps.blocks] == channels
    seen: dict[str, Tensor] = {}
    modules = dict(taps.backbone.named_modules())
    for name in taps.block_names:
        modules[name].register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: out}))
    x = torch.randn(2, *network.shape)
    found = extract_maps(taps, x, 0.5, draw_noise(network.shape, 0.5))
    assert sorted(found) == list(range(1, len(sides) + 1))
    for tap in taps.blocks:
        raw = seen[tap.name][-1] if isinstance(seen[tap.name], tuple) else seen[tap.name]
        raw = raw if raw.dim() == 4 else raw.transpose(1, 2).reshape(found[tap.index].shape)
        assert torch.equal(raw, found[tap.index])
    if "UNet" in kind:  # what a decoder's block takes back is its mirror's skip, so sizes agree
        assert len(sides) == 2 * taps.middle - 1


def test_below_the_levels_of_training_the_image_is_clearer_and_the_network_is_told_the_lowest():
    network, x = denoiser(), images()
    low = network.sigmas[0]
    taps, told = Hooks(network), []
    plain = network.denoise

    def watch(noisy: Tensor, sigma: Tensor, condition: Tensor) -> Tensor:
        told.append((noisy.clone(), sigma.clone()))
        return plain(noisy, sigma, condition)

    network.denoise = watch
    extract_features(taps, x, [FeaturePoint(6, low / 4)])
    noisy, sigma = told[-1]
    assert sigma.tolist() == pytest.approx([low] * len(sigma))
    clean = normalize_images(x)[: len(noisy)]
    assert float((noisy - clean).std()) == pytest.approx(low / 4, rel=0.5)
    extract_features(taps, x, [FeaturePoint(6, 2 * low)])
    assert told[-1][1].tolist() == pytest.approx([2 * low] * len(sigma))


@pytest.mark.parametrize(
    ("points", "told"),
    [
        (
            [FeaturePoint(10, 0.4)],
            "no block 10; its 9 blocks are counted from 1, and 5 is the middle",
        ),
        (
            [FeaturePoint(6, 99.0)],
            "sigma 99 is above what this network was trained on, up to 80",
        ),
        ([FeaturePoint(6, 0.4, 5)], "pool 5 is finer than the map of block 6, which is 4 high"),
    ],
)
def test_a_place_that_does_not_exist(points: list[FeaturePoint], told: str):
    with pytest.raises(InputError, match=told):
        extract_features(Hooks(denoiser()), images(), points)


def test_images_and_networks_that_do_not_fit():
    taps = Hooks(denoiser())
    with pytest.raises(
        InputError, match="images of 3 x 8 x 8 cannot be processed: the network takes 1 x"
    ):
        extract_features(taps, torch.zeros(2, 3, 8, 8), [FeaturePoint(1, 0.4)])
    with pytest.raises(InputError, match="not finite"):
        extract_features(taps, torch.full((2, 1, 8, 8), torch.nan), [FeaturePoint(1, 0.4)])
    bare = replace(adding(), network=lambda z, _t, _c: z)
    with pytest.raises(InputError, match="no block can be read from this ExternalDenoiser"):
        Hooks(bare)
    with pytest.raises(InputError, match="is not a feature point: block must be >= 1"):
        FeaturePoint(0, 0.4)
    with pytest.raises(InputError, match="pool 0 gives no map"):
        extract_feature_maps(taps, images(), [FeaturePoint(1, 0.4, 0)])
    with pytest.raises(InputError, match="0 draws"):
        FeatureConfig(draws=0)
    with pytest.raises(InputError, match="have no spread"):
        estimate_noise_variance(taps, images(), [FeaturePoint(1, 0.4)], draws=1)
