"""The supervised twin: the denoiser's own layers, its own budget, and it learns."""

import numpy as np
import pytest
import torch
from torch import nn

from ilk.core.errors import InputError, NoLabels
from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.networks.unet import UNet
from ilk.diffusion.pretraining import presets as plans
from ilk.diffusion.pretraining import supervised_baseline as twin
from ilk.diffusion.pretraining.pretrain import PretrainConfig, make_spec
from ilk.diffusion.pretraining.supervised_baseline import (
    CrossEntropy,
    PatchClassifier,
    SupervisedBaseline,
    fit_baseline,
)
from ilk.training.trainer import Batch, Recipe

DIGITS = tuple("0123456789")
SMALL = {
    "unet": {"width": 16, "levels": [1], "patch": 2},
    "dit": {"width": 32, "depth": 2, "patch": 2},
}
RATE = {"unet": 5e-3, "dit": 1e-2}


@pytest.fixture(scope="module")
def digits():
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    x = torch.tensor(np.rint(x * 255 / 16), dtype=torch.uint8).view(-1, 1, 8, 8)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    return Batch(x[order], torch.tensor(y)[order])


def plan(network="unet", steps=4, **more):
    recipe = Recipe(steps=steps, batch_size=64, lr=RATE[network], warmup=min(5, steps))
    return PretrainConfig(recipe, network, SMALL[network], **more)


def weights(network):
    return sum(p.numel() for p in network.parameters())


def shaken(network):
    """Weights that are zero at the start are moved, so that every layer matters."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator))
    return network.eval()


def denoiser(network="unet", k=10, shape=(1, 8, 8)):
    data = Batch(
        torch.arange(64, dtype=torch.uint8).expand(2, *shape[:1], 64).reshape(2, 1, 8, 8),
        torch.tensor([0, 1]),
    )
    return make_spec(data, tuple(map(str, range(k))), plan(network)).build()


@pytest.mark.parametrize(("network", "steps"), [("unet", 100), ("dit", 200)])
def test_it_learns_digits_within_seconds(digits, network, steps):
    train, test = Batch(digits.x[:1297], digits.y[:1297]), Batch(digits.x[1297:], digits.y[1297:])
    made = fit_baseline(train, DIGITS, plan(network, steps=steps))
    assert made.logits(test.x).shape == (500, 10)
    assert float((made.logits(test.x).argmax(1) == test.y).float().mean()) > 0.9


@pytest.mark.parametrize("network", ["unet", "dit"])
def test_its_trunk_is_the_denoisers_but_for_the_last_layer(network):
    ours, theirs = SupervisedBaseline(denoiser(network)).backbone, denoiser(network).network
    mine = {n: p.shape for n, p in ours.named_parameters() if not n.startswith("proj_out")}
    assert mine == {
        n: p.shape for n, p in theirs.named_parameters() if not n.startswith("proj_out")
    }
    assert {n for n, _ in ours.named_parameters()} - set(mine) == {
        "proj_out.linear.weight",
        "proj_out.linear.bias",
    }


@pytest.mark.parametrize("network", ["unet", "dit"])
@pytest.mark.parametrize(("size", "channels"), [(8, 1), (28, 1), (32, 3)])
def test_it_has_as_many_weights_as_the_denoiser(network, size, channels):
    images = torch.randint(0, 255, (2, channels, size, size), dtype=torch.uint8)
    asked = PretrainConfig(Recipe(steps=1), network, plans.choose_options(network, size))
    build = make_spec(Batch(images, torch.tensor([0, 1])), DIGITS, asked)
    one, other = weights(build.build()), weights(SupervisedBaseline(build.build()))
    assert abs(other / one - 1) < 0.01


@pytest.mark.parametrize("network", ["unet", "dit"])
def test_it_is_a_linear_head_on_the_pooled_last_map(network):
    made = shaken(SupervisedBaseline(denoiser(network)))
    caught = []
    made.backbone.proj_out.register_forward_pre_hook(lambda _module, given: caught.append(given[0]))
    x = torch.rand(3, 1, 8, 8) * 2 - 1
    logits = made(x)
    pooled = caught[0].mean((2, 3)) if network == "unet" else caught[0].mean(1)
    assert torch.allclose(logits, made.backbone.proj_out.linear(pooled), atol=1e-5)
    assert torch.allclose(made.compute_logit_map(x).mean((2, 3)), logits)


def test_places_keep_their_place_when_patches_unfold():
    network = UNet(1, 8, 2, width=8, levels=[1], patch=2)
    network.proj_out = PatchClassifier(8, 3, 2, axis=1)
    seen = network(torch.rand(1, 1, 8, 8), torch.zeros(1), torch.zeros(1, dtype=torch.int64))
    assert seen.shape == (1, 3, 8, 8)
    blocks = seen.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)
    assert torch.equal(blocks, blocks[..., :1].expand_as(blocks))
    assert len(blocks[0, 0, :, :, 0].unique()) > 4


@pytest.mark.parametrize("network", ["unet", "dit"])
def test_it_runs_its_trunk_as_the_denoiser_does_at_its_lowest_noise(network):
    told = denoiser(network)
    made = shaken(SupervisedBaseline(denoiser(network)))
    given = []
    for layers in (told.network, made.backbone):
        layers.register_forward_pre_hook(lambda _module, args: given.append(args))
    x = torch.rand(2, 1, 8, 8) * 2 - 1
    told.denoise(x, torch.full((2,), told.sigmas[0]), told.condition(torch.tensor([-1, -1])))
    made(x)
    for one, other in zip(*given, strict=True):
        assert torch.allclose(one, other.to(one.dtype), atol=1e-6)


def test_an_image_is_judged_by_itself(digits):
    made = shaken(SupervisedBaseline(denoiser()))
    whole = made.logits(digits.x[:40])
    assert torch.allclose(made.logits(digits.x[7:8]), whole[7:8], atol=1e-5)
    assert torch.allclose(made.logits(digits.x[:40], batch=7), whole, atol=1e-5)
    assert made.logits(digits.x[:0]).shape == (0, 10)


def test_smoothing_is_cross_entropy_against_spread_labels():
    logits, y = torch.randn(5, 4), torch.tensor([0, 1, 2, 3, 0])
    spread = 0.9 * nn.functional.one_hot(y, 4) + 0.1 / 4
    told = -(spread * logits.log_softmax(1)).sum(1).mean()
    batch = Batch(logits, y)
    made = CrossEntropy(0.1)(nn.Identity(), batch, torch.Generator())
    assert float(made) == pytest.approx(float(told), rel=1e-5)
    plain = CrossEntropy()(nn.Identity(), batch, torch.Generator())
    assert float(plain) == pytest.approx(float(-logits.log_softmax(1)[range(5), y].mean()))


def test_it_gets_the_plans_updates_images_and_tweaks(digits, monkeypatch):
    seen = []

    def watched(self, network, batch, generator):
        seen.append(batch)
        return taken(self, network, batch, generator)

    taken = CrossEntropy.__call__
    monkeypatch.setattr(twin.CrossEntropy, "__call__", watched)
    asked = plan(steps=5, random_flip=True, max_shift=1)
    fit_baseline(digits, DIGITS, asked)
    assert [len(batch) for batch in seen] == [64] * 5
    assert all(float(b.x.min()) >= -1 and float(b.x.max()) <= 1 for b in seen)
    known = {row.numpy().tobytes() for row in digits.x.float() / 127.5 - 1}
    new = sum(row.numpy().tobytes() not in known for b in seen for row in b.x)
    assert new > 0.5 * 5 * 64  # moved and mirrored


def test_the_same_seed_makes_the_same_twin_and_leaves_the_callers_draws_alone(digits):
    torch.manual_seed(1)
    one = fit_baseline(digits, DIGITS, plan())
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), after)
    other = fit_baseline(digits, DIGITS, plan())
    assert torch.equal(one.logits(digits.x[:9]), other.logits(digits.x[:9]))


def test_rows_without_a_label_teach_it_nothing(digits):
    y = digits.y.clone()
    y[500:] = -1
    some = fit_baseline(Batch(digits.x, y), DIGITS, plan())
    x = digits.x.clone()
    x[500:] = x[500:].flip(0)  # other pictures, of the same spread
    other = fit_baseline(Batch(x, y), DIGITS, plan())
    assert torch.equal(some.logits(digits.x[:9]), other.logits(digits.x[:9]))
    with pytest.raises(NoLabels, match="there are none; label a few"):
        fit_baseline(Batch(digits.x, torch.full_like(y, -1)), DIGITS, plan())


def test_what_it_cannot_do_is_told(digits):
    with pytest.raises(InputError, match="needs at least 2 classes and got 0"):
        SupervisedBaseline(Denoiser(UNet(1, 8, 0, width=8), (1, 8, 8), ()))
    with pytest.raises(InputError, match="the baseline takes uint8, n x 1 x 8 x 8"):
        SupervisedBaseline(denoiser()).logits(torch.zeros(2, 1, 9, 9, dtype=torch.uint8))
    with pytest.raises(InputError, match=r"torch\.float32"):
        SupervisedBaseline(denoiser()).logits(torch.zeros(2, 1, 8, 8))
    with pytest.raises(InputError, match=r"smoothing 1\.0"):
        fit_baseline(digits, DIGITS, plan(), smoothing=1.0)
    with pytest.raises(InputError, match="label 9 belongs to none of the 3 classes"):
        fit_baseline(digits, DIGITS[:3], plan())
