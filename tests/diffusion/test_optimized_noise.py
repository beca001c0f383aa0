"""Learned noise: its gradient, what it gains over chance, its price, and what is kept of it."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ilk.core.digested_json import encode_digested
from ilk.core.errors import ArtifactError, InputError, NoLabels
from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.denoiser.protocol import expand_like
from ilk.diffusion.errors.candidates import draw_candidates
from ilk.diffusion.errors.class_errors import compute_class_errors, draw_level_noise
from ilk.diffusion.errors.denoising_errors import Measure
from ilk.diffusion.networks.unet import UNet
from ilk.diffusion.noise_optimization.ensemble import NoiseEnsemble
from ilk.diffusion.noise_optimization.matching_loss import MatchingLoss
from ilk.diffusion.noise_optimization.noise_file import load, save
from ilk.diffusion.noise_optimization.offset import OffsetNetwork, count_levels
from ilk.diffusion.noise_optimization.optimized_noise import OptimizedNoise, standardize_errors
from ilk.diffusion.noise_optimization.single_noise import measure_single_noise_accuracy
from ilk.diffusion.noise_optimization.tuning import PAPER_CONFIG, NoiseTuningConfig, optimize_noise
from ilk.training import checkpoint
from ilk.training.checkpoint import DivergenceError

L1, L2, HUBER = Measure("l1"), Measure("l2"), Measure("huber")


@dataclass(frozen=True)
class Mixtures:
    """Each class is several bells `N(mean, spread^2)`; the denoiser is the exact posterior mean."""

    means: Tensor  # [k, bells, c, h, w]
    sigma_data: float = 0.25
    sigmas: tuple[float, float] = (0.01, 50.0)
    asked: list[int] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, int, int]:
        c, h, w = self.means.shape[2:]
        return c, h, w

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple("abcdefgh"[: len(self.means)])

    def condition(self, classes: Tensor) -> Tensor:
        return classes

    def denoise(self, noisy: Tensor, sigma: Tensor, condition: Tensor) -> Tensor:
        self.asked.append(len(noisy))
        means = self.means.to(noisy.dtype)[condition]
        total = self.sigma_data**2 + sigma.to(noisy.dtype) ** 2
        far = (noisy[:, None] - means).square().flatten(2).sum(2)
        share = (-far / (2 * total[:, None])).softmax(1)[:, :, None, None, None]
        pull = expand_like(self.sigma_data**2 / total, noisy)
        return (share * means).sum(1) * (1 - pull) + pull * noisy


def world(k: int = 4) -> Mixtures:
    generator = torch.Generator().manual_seed(3)
    return Mixtures(0.35 * torch.randn(k, 3, 1, 6, 6, generator=generator))


def drawn(model: Mixtures, n: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    k, bells = model.means.shape[:2]
    y = torch.arange(n) % k
    bell = torch.randint(bells, (n,), generator=generator)
    rough = torch.randn(n, *model.shape, generator=generator)
    return model.means[y, bell] + 1.6 * model.sigma_data * rough, y


def tiny(seed: int = 0, classes: tuple[str, ...] = ("a", "b", "c")) -> Denoiser:
    torch.manual_seed(seed)
    network = UNet(1, 8, len(classes), width=8)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.1 * torch.randn(p.shape))
    return Denoiser(network, (1, 8, 8), classes).eval()


@pytest.mark.parametrize("measure", [L1, L2, HUBER])
def test_the_error_is_the_noise_that_is_missed_and_the_gradient_reaches_it_twice(measure: Measure):
    model, sigma = world(), 0.8
    x, y = (v[:3] for v in drawn(model, 4, 1))
    x, noise = x.double(), torch.randn(3, 1, 6, 6, dtype=torch.float64)
    classes = draw_candidates(y, 4, 4, torch.Generator())

    def sheets(noise: Tensor, target: Tensor) -> Tensor:
        missed = []
        for c in range(4):
            noisy = x + sigma * noise
            told = classes[:, c]
            level = torch.full((3,), sigma, dtype=torch.float64)
            epsilon = (noisy - model.denoise(noisy, level, told)) / sigma
            apart = (target - epsilon).flatten(1)
            huber = functional.huber_loss(apart, torch.zeros_like(apart), reduction="none")
            distance = {"l1": apart.abs(), "l2": apart**2, "huber": huber}[measure.distance]
            missed.append(distance.mean(1))
        e = torch.stack(missed, 1)
        z = (e - e.mean(1, keepdim=True)) / e.std(1, correction=0, keepdim=True)
        return functional.cross_entropy(-z, torch.zeros(3, dtype=torch.long))

    contest = MatchingLoss(model, sigma, measure)
    noise.requires_grad_()
    mine, brute = contest.compute_loss(x, noise, classes), sheets(noise, noise)
    assert mine.item() == pytest.approx(brute.item(), rel=1e-10)
    slope = torch.autograd.grad(mine, noise)[0]
    assert torch.allclose(slope, torch.autograd.grad(brute, noise)[0], rtol=1e-8, atol=1e-12)
    assert torch.autograd.gradcheck(lambda n: contest.compute_loss(x, n, classes), noise)
    once = torch.autograd.grad(sheets(noise, noise.detach()), noise)[0]
    assert (once - slope).norm() > 0.1 * slope.norm()


def test_errors_are_standardised_over_the_classes_of_an_image():
    made = torch.tensor([[1.0, 2.0, 4.0], [5.0, 5.0, 5.0]], requires_grad=True)
    z = standardize_errors(made)
    told = made.detach().numpy()[0]
    assert z[0].tolist() == pytest.approx(((told - told.mean()) / np.std(told)).tolist())
    assert z[1].tolist() == [0, 0, 0]  # all alike: nothing is told, and nothing blows up
    z.square().sum().backward()
    assert made.grad is not None
    assert made.grad.isfinite().all()


@pytest.mark.parametrize(
    ("shape", "levels"), [((1, 8, 8), 2), ((4, 64, 64), 4), ((3, 28, 28), 3), ((2, 7, 5), 1)]
)
def test_an_offset_suits_any_size_starts_at_nothing_and_keeps_images_apart(shape, levels):
    c, h, w = shape
    assert count_levels(h, w) == levels
    torch.manual_seed(0)
    offset, x = OffsetNetwork(c, count_levels(h, w), 8), torch.randn(3, *shape)
    assert not offset(x).any()
    with torch.no_grad():
        offset.conv_out.weight.normal_()
    out = offset(x)
    assert out.shape == x.shape
    assert torch.allclose(out[1:2], offset(x[1:2]), atol=1e-5)  # no batch norm
    out.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in offset.parameters())


def accuracy(noise: OptimizedNoise, model: Mixtures, x: Tensor, y: Tensor) -> float:
    return float((noise.score_batch(model, x).scores.argmax(1) == y).double().mean())


def test_a_learned_noise_beats_random_ones_on_images_it_has_not_seen():
    model, sigma = world(), 3.0
    x, y = drawn(model, 64, 1)
    unseen = drawn(model, 160, 2)
    chance = measure_single_noise_accuracy(model, unseen, sigma, range(50), L1)
    assert chance.std() > 0.02  # the draw matters
    tuning = replace(PAPER_CONFIG, offset_width=8, seed=5)
    right = {
        parts: accuracy(
            optimize_noise(model, x, y, sigma, replace(tuning, components=parts)), model, *unseen
        )
        for parts in ("dataset", "both")
    }
    assert min(right.values()) > chance.mean() + 0.05
    assert right["dataset"] > chance[5] + 0.02  # what it began with
    assert right["both"] > chance.quantile(0.95)


def test_an_offset_is_its_own_image_s():
    model, sigma = world(), 3.0
    x, y = drawn(model, 64, 1)
    unseen, truth = drawn(model, 400, 2)
    noise = optimize_noise(
        model, x, y, sigma, replace(PAPER_CONFIG, components="offset", offset_width=8, seed=5)
    )
    swapped = noise.compute_noise(unseen)[
        torch.randperm(400, generator=torch.Generator().manual_seed(0))
    ]
    made = compute_class_errors(model, unseen, torch.tensor([sigma]), swapped[:, None], L1)[:, :, 0]
    right = (made.argmin(1) == truth).double().mean()
    assert accuracy(noise, model, unseen, truth) > right + 0.1


def test_what_does_not_learn_stays_as_it_was_drawn():
    model = tiny()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    x, y = torch.randn(6, 1, 8, 8), torch.arange(6) % 3
    settings = NoiseTuningConfig("offset", epochs=2, offset_width=8, initial_scale=1.0, seed=4)
    found = optimize_noise(model, x, y, 0.7, settings)
    assert torch.equal(found.noise, draw_level_noise(model, 1, 4)[0])
    assert found.offset is not None
    assert found.compute_noise(x).sub(found.noise).any()
    assert optimize_noise(model, x, y, 0.7, replace(settings, components="dataset")).offset is None
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_the_same_seed_gives_the_same_noise_however_many_calls_fit():
    model = tiny()
    x, y = torch.randn(10, 1, 8, 8), torch.arange(10) % 3
    settings = replace(PAPER_CONFIG, epochs=3, offset_width=8)
    once, again = (optimize_noise(model, x, y, 0.7, settings) for _ in range(2))
    assert torch.equal(once.compute_noise(x), again.compute_noise(x))
    cramped = optimize_noise(
        model, x, y, 0.7, replace(settings, measure=Measure("l1", batch_size=10))
    )
    assert torch.allclose(once.compute_noise(x), cramped.compute_noise(x), atol=1e-3)
    assert cramped.metadata["loss"] == pytest.approx(once.metadata["loss"], rel=1e-4)
    other = optimize_noise(model, x, y, 0.7, replace(settings, seed=1))
    assert not torch.allclose(once.compute_noise(x), other.compute_noise(x), atol=0.1)
    hidden = torch.cat([y, torch.full((2,), -1)])
    more = optimize_noise(model, torch.cat([x, torch.randn(2, 1, 8, 8)]), hidden, 0.7, settings)
    assert torch.equal(once.noise, more.noise)  # rows without a label teach nothing


def test_judging_costs_one_call_a_class_and_is_standardised():
    model = world()
    x, y = drawn(model, 8, 1)
    noise = optimize_noise(model, x, y, 1.0, NoiseTuningConfig("both", epochs=1, offset_width=8))
    model.asked.clear()
    verdict = noise.score_batch(model, x, Measure("l2", batch_size=5))  # l1 is the noise's own
    assert sum(model.asked) == 8 * 4
    assert verdict.n_calls.tolist() == [4] * 8
    made = compute_class_errors(model, x, torch.tensor([1.0]), noise.compute_noise(x)[:, None], L1)[
        :, :, 0
    ]
    z = (made - made.mean(1, keepdim=True)) / made.std(1, correction=0, keepdim=True)
    assert torch.allclose(verdict.scores, -z, atol=1e-4)
    assert torch.allclose(noise.score_batch(model, x[2:3]).scores, verdict.scores[2:3], atol=1e-4)
    assert noise.score_batch(model, x[:0]).scores.shape == (0, 4)


def made(model: Denoiser, parts: str = "both", sigma: float = 0.7) -> OptimizedNoise:
    x, y = torch.randn(6, 1, 8, 8), torch.arange(6) % 3
    return optimize_noise(model, x, y, sigma, NoiseTuningConfig(parts, epochs=2, offset_width=8))


def test_the_file_of_one_noise_of_the_format_before_is_still_read(tmp_path: Path):
    model, x = tiny(), torch.randn(4, 1, 8, 8)
    noise = made(model)
    arrays = {"noise": noise.noise, "reference_outputs": noise.reference_outputs}
    assert noise.offset is not None
    arrays |= {f"offset/{k}": v for k, v in noise.offset.state_dict().items()}
    write, digest = checkpoint.prepare_arrays(arrays, {"format": "ilk noise"})
    write(tmp_path / "noise.safetensors")
    fields = {"version": 3, "sigma": noise.sigma, "distance": "l1", "classes": noise.classes}
    fields |= {"offset": {"levels": 2, "width": 8}, "metadata": {}, "arrays": digest}
    (tmp_path / "noise.json").write_bytes(encode_digested(fields))
    again = load(tmp_path, model)
    assert torch.equal(again.score_batch(model, x).scores, noise.score_batch(model, x).scores)


@pytest.mark.parametrize("parts", ["dataset", "both"])
def test_what_is_saved_judges_as_it_did(parts: str, tmp_path: Path):
    model, x = tiny(), torch.randn(4, 1, 8, 8)
    noise = NoiseEnsemble((made(model, parts), made(model, "dataset", 1.9)), {"seed": 3})
    save(noise, tmp_path / "model")
    again = load(tmp_path / "model", tiny())
    assert torch.equal(again.score_batch(model, x).scores, noise.score_batch(model, x).scores)
    assert again.metadata == {"seed": 3}
    assert [m.sigma for m in again.members] == [0.7, 1.9]
    for member, kept in zip(again.members, noise.members, strict=True):
        assert member.metadata == json.loads(json.dumps(kept.metadata))


def test_a_noise_of_another_network_or_a_damaged_one_is_refused(tmp_path: Path):
    model = tiny()
    save(NoiseEnsemble((made(model),)), tmp_path)
    with pytest.raises(ArtifactError, match="trained further"):
        load(tmp_path, tiny(seed=1))
    with pytest.raises(ArtifactError, match="classes a, b, c and the network knows a, b, d"):
        load(tmp_path, tiny(classes=("a", "b", "d")))
    with pytest.raises(
        ArtifactError, match="1 x 8 x 8 does not go with a network that takes 1 x 6"
    ):
        load(tmp_path, world())
    with pytest.raises(InputError, match="takes 1 x 6 x 6"):
        made(model).score_batch(world(), torch.zeros(1, 1, 6, 6))
    with pytest.raises(InputError, match="images of 1 x 6 x 6 cannot be processed"):
        made(model).score_batch(model, torch.zeros(1, 1, 6, 6))
    told = json.loads((tmp_path / "noise.json").read_text())
    member = told["members"][0]
    for wrong, match in (
        ({**told, "version": 9}, "format 9"),
        ({**told, "members": [{**member, "offset": {"levels": 1, "width": 8}}]}, "does not fit"),
        ({**told, "members": []}, "needs at least one"),
        (
            {**told, "members": [{k: v for k, v in member.items() if k != "sigma"}]},
            "does not fit noise.json: members.*sigma is missing",
        ),
    ):
        (tmp_path / "noise.json").write_bytes(encode_digested(wrong))
        with pytest.raises(ArtifactError, match=match):
            load(tmp_path, model)
    (tmp_path / "noise.json").write_text(json.dumps({**told, "classes": ["x", "b", "c"]}))
    with pytest.raises(ArtifactError, match="was altered"):
        load(tmp_path, model)
    (tmp_path / "noise.json").write_text("[")
    with pytest.raises(ArtifactError, match="is damaged"):
        load(tmp_path, model)
    with pytest.raises(ArtifactError, match=r"no noise\.json"):
        load(tmp_path / "none", model)


def test_bad_input_is_refused():
    model = world()
    x, y = drawn(model, 4, 1)
    with pytest.raises(NoLabels):
        optimize_noise(model, x, torch.full((4,), -1), 1.0)
    with pytest.raises(InputError, match="below 4"):
        optimize_noise(model, x, y + 1, 1.0)
    with pytest.raises(InputError, match="knows 1 classes"):
        optimize_noise(world(1), x, y, 1.0)
    with pytest.raises(InputError, match="1 x 5 x 6 cannot be processed"):
        optimize_noise(model, x[:, :, 1:], y, 1.0)
    for sigma in (0.0, float("nan")):
        with pytest.raises(InputError, match="sigma must be above 0"):
            optimize_noise(model, x, y, sigma)
    with pytest.raises(DivergenceError, match="update 1: a gradient is not finite"):
        optimize_noise(model, x * float("nan"), y, 1.0, NoiseTuningConfig(offset_width=8))
    with pytest.raises(InputError, match="at least one"):
        NoiseEnsemble(())
    for wrong in (
        {"components": "all"},
        {"epochs": 0},
        {"check_every": 0},
        {"lr": 0.0},
        {"n_candidates": 1},
        {"initial_scale": -1.0},
    ):
        with pytest.raises(InputError):
            NoiseTuningConfig(**wrong)
    with pytest.raises(InputError, match="multiple of 8"):
        OffsetNetwork(1, 1, 12)
