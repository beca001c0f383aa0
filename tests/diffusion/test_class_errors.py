"""The diffusion classifier and the samplers, against a denoiser known in closed form."""

import math
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ilk.core.errors import InputError
from ilk.diffusion.denoiser.noise_levels import make_log_grid
from ilk.diffusion.denoiser.protocol import expand_like
from ilk.diffusion.errors.class_errors import (
    Measure,
    compute_class_errors,
    compute_scores,
    draw_level_noise,
    likelihood_weights,
)
from ilk.diffusion.generation.sample import Sampler, make_grid


@dataclass(frozen=True)
class Gaussians:
    """Classes `N(mean_c, spread^2)`, each pixel by itself, and the best denoiser of each.

    A class that is not told is taken for a class of mean 0.
    """

    means: Tensor
    sigma_data: float = 0.3
    sigmas: tuple[float, float] = (0.002, 80.0)

    @property
    def shape(self) -> tuple[int, int, int]:
        c, h, w = self.means.shape[1:]
        return c, h, w

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple("abcdefgh"[: len(self.means)])

    def condition(self, classes: Tensor) -> Tensor:
        return classes

    def denoise(self, noisy: Tensor, sigma: Tensor, condition: Tensor) -> Tensor:
        means = torch.cat([self.means, torch.zeros_like(self.means[:1])])[condition]
        share = self.sigma_data**2 / (self.sigma_data**2 + expand_like(sigma, noisy) ** 2)
        return means + share * (noisy - means)


def world(k: int = 3) -> Gaussians:
    generator = torch.Generator().manual_seed(6)
    return Gaussians(0.4 * torch.randn(k, 2, 4, 4, generator=generator))


def images(model: Gaussians, n: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    y = torch.arange(n) % len(model.means)
    x = torch.randn(n, *model.shape, generator=generator)
    return model.means[y] + model.sigma_data * x, y


def huber_of_epsilon(clean: Tensor, noisy: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """The paper's error, of the noise that a network predicts."""
    return functional.huber_loss((noisy - clean) / sigma, noise)


def test_errors_are_those_of_one_call_at_a_time():
    model, sigmas = world(), torch.tensor([0.3, 1.0])
    x, _ = images(model)
    noise = draw_level_noise(model, 2)
    for distance in ("l2", "l1", "huber"):
        made = compute_class_errors(model, x, sigmas, noise, Measure(distance, batch_size=7))
        assert made.shape == (5, 3, 2)
        assert made.dtype == torch.float32
        for i in range(5):
            for c in range(3):
                for s in range(2):
                    noisy = x[i] + sigmas[s] * noise[s]
                    clean = model.denoise(noisy[None], sigmas[s : s + 1], torch.tensor([c]))[0]
                    miss = (clean - x[i]).abs()
                    brute = {
                        "l2": miss**2,
                        "l1": miss,
                        "huber": sigmas[s] ** 2
                        * huber_of_epsilon(clean, noisy, noise[s], sigmas[s]),
                    }[distance].mean()
                    assert made[i, c, s].item() == pytest.approx(brute.item(), rel=1e-5)


def test_weighted_huber_errors_are_the_paper_s_plain_mean_of_epsilon_errors():
    model = world()
    x, _ = images(model)
    sigmas = torch.tensor([0.05, 0.3, 1.0, 6.0])
    noise = draw_level_noise(model, 4)
    made = compute_class_errors(model, x, sigmas, noise, Measure("huber"))
    scores = compute_scores(made, likelihood_weights(sigmas, "huber"))
    share_of_linear = 0.0
    for i in range(5):
        means = []
        for c in range(3):
            noisy = x[i] + sigmas.view(-1, 1, 1, 1) * noise
            clean = model.denoise(noisy, sigmas, torch.full((4,), c))
            missed = (noisy - clean) / sigmas.view(-1, 1, 1, 1) - noise
            share_of_linear = max(share_of_linear, float((missed.abs() > 1).double().mean()))
            means.append(-functional.huber_loss(missed, torch.zeros_like(missed)).item())
        ratio = scores[i].double() / torch.tensor(means, dtype=torch.float64)
        assert ratio.tolist() == pytest.approx([ratio[0].item()] * 3, rel=1e-5)
    assert 0.05 < share_of_linear < 0.95  # both branches count


def test_an_image_is_judged_alone_whatever_the_batch():
    model, sigmas = world(), torch.tensor([0.3, 1.0, 2.0])
    x, _ = images(model)
    together = compute_class_errors(model, x, sigmas, draw_level_noise(model, 3))
    apart = compute_class_errors(
        model, x[3:4], sigmas, draw_level_noise(model, 3), Measure(batch_size=2)
    )
    assert torch.equal(together[3:4], apart)


def test_scores_are_log_likelihoods():
    model = world()
    x, _ = images(model, 6)
    levels = 400
    sigmas = make_log_grid((1e-3, 300.0), levels)
    noise = torch.randn(levels, *model.shape, generator=torch.Generator().manual_seed(1))
    made = compute_class_errors(model, x, sigmas, noise)
    step, pixels = math.log(3e5) / levels, math.prod(model.shape)
    weights = likelihood_weights(sigmas)
    nats = compute_scores(made, weights) * (sigmas.double() ** -2).mean() * levels * step * pixels
    exact = -((x[:, None] - model.means) ** 2).flatten(2).sum(2) / (2 * model.sigma_data**2)
    gap = (nats - nats.mean(1, keepdim=True)) - (exact - exact.mean(1, keepdim=True))
    size = (exact - exact.mean(1, keepdim=True)).abs().mean()
    assert gap.abs().mean() < 0.1 * size


def test_sharing_the_noise_over_classes_is_what_tells_them_apart():
    model = replace(world(), means=0.1 * world().means)
    x, y = images(model, 150)
    sigmas, generator = make_log_grid((0.1, 1.0), 4), torch.Generator().manual_seed(2)
    own = torch.randn(150, 4, *model.shape, generator=generator)
    each = torch.randn(150, 3, 4, *model.shape, generator=generator)

    def classify(noise):
        errors = compute_class_errors(model, x, sigmas, noise)
        return compute_scores(errors, torch.ones(4)).argmax(1)

    right = {
        name: float((classify(noise) == y).double().mean())
        for name, noise in {"own": own, "each": each}.items()
    }
    copied = own[:, None].expand(-1, 3, *own.shape[1:])
    assert torch.equal(
        compute_class_errors(model, x, sigmas, own), compute_class_errors(model, x, sigmas, copied)
    )
    assert right["own"] > right["each"] + 0.05


def test_weights_make_every_level_count_by_its_information():
    weights = likelihood_weights(torch.tensor([1.0, 2.0]))
    assert weights.tolist() == pytest.approx([1.6, 0.4])
    weights = likelihood_weights(torch.tensor([1.0, 2.0]), "l1")
    assert weights.tolist() == pytest.approx([4 / 3, 2 / 3])
    misses = torch.tensor([[[1.0, 3.0], [2.0, 2.0]]])
    assert compute_scores(misses, torch.tensor([1.5, 0.5])).tolist() == [[-1.5, -2.0]]


def test_bad_input_is_refused():
    model, sigmas = world(), torch.tensor([0.3])
    x, _ = images(model)
    with pytest.raises(InputError, match="without classes"):
        compute_class_errors(
            replace(model, means=model.means[:0]), x, sigmas, draw_level_noise(model, 1)
        )
    with pytest.raises(
        InputError, match="1 x 4 x 4 cannot be processed: the network takes 2 x 4 x 4"
    ):
        compute_class_errors(model, x[:, :1], sigmas, draw_level_noise(model, 1))
    for wrong in ({"distance": "l3"}, {"batch_size": 0}, {"precision": "float16"}):
        with pytest.raises(InputError):
            Measure(**wrong)


@pytest.mark.parametrize("churn", [0.0, 8.0])
def test_samples_have_the_mean_and_spread_of_their_class(churn: float):
    model = world()
    classes = torch.arange(3).repeat(700)
    drawn = Sampler(steps=40, churn=churn).draw(model, classes)
    for c in range(3):
        group = drawn[classes == c]
        assert (group.mean(0) - model.means[c]).abs().max() < 5 * 0.3 / math.sqrt(700)
        assert group.sub(model.means[c]).std().item() == pytest.approx(0.3, rel=0.05)


def test_samples_follow_the_seed_and_guidance_pushes_past_the_class():
    model, classes = world(), torch.tensor([0, 1, 2, -1])
    once = Sampler(seed=3).draw(model, classes)
    assert torch.equal(once, Sampler(seed=3).draw(model, classes))
    assert not torch.allclose(once, Sampler(seed=4).draw(model, classes))
    further = Sampler(seed=3, guidance=2.0).draw(model, classes)
    assert torch.allclose(further[3], once[3], atol=1e-5)  # nothing told, nothing to push from
    lean = torch.sign(model.means)
    assert ((further[:3] - once[:3]) * lean).mean() > 0.1


def test_the_ladder_falls_from_the_highest_level_to_nothing():
    rungs = Sampler(steps=5).compute_sigmas((0.01, 50.0))
    assert rungs[0].item() == pytest.approx(50)
    assert rungs[-2].item() == pytest.approx(0.01)
    assert rungs[-1] == 0
    assert (rungs.diff() < 0).all()
    with pytest.raises(InputError):
        Sampler(steps=1)


def test_a_sheet_holds_every_image_once():
    x = torch.linspace(-1, 1, 5).view(5, 1, 1, 1).expand(5, 1, 2, 3)
    made = make_grid(x, 3)
    assert made.shape == (5, 11, 1)
    assert made[0, 0] == 0
    assert made[3, 4] == 255
    assert made[0, 4] == 64
    assert (made[2] == 255).all()
