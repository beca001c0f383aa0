"""One noise and one level: which tells most, how far the draw matters, what noise is made of."""

import math

import pytest
import torch
from torch.nn import functional

from ilk.core.errors import InputError, NoLabels
from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.errors.denoising_errors import Measure
from ilk.diffusion.networks.unet import UNet
from ilk.diffusion.noise_optimization.single_noise import (
    compute_high_frequency_ratio,
    measure_single_noise_accuracy,
    select_sigma,
)
from ilk.diffusion.noise_optimization.tuning import NoiseTuningConfig, optimize_noise


def tiny() -> Denoiser:
    torch.manual_seed(0)
    network = UNet(1, 8, 3, width=8)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.2 * torch.randn(p.shape))
    return Denoiser(network, (1, 8, 8), ("a", "b", "c")).eval()


def told(y: torch.Tensor, clear: list[float]) -> torch.Tensor:
    """Errors `[n, k, levels]` that are lower under the true class by as much as `clear` says."""
    generator = torch.Generator().manual_seed(1)
    rough = torch.randn(len(y), 3, len(clear), generator=generator)
    true = functional.one_hot(y, 3)[:, :, None] * torch.tensor(clear)
    return 7 + 0.01 * (rough - true)


def test_the_level_that_tells_most_is_found_whatever_the_size_of_its_errors():
    y = torch.arange(60) % 3
    made = told(y, [0.5, 3.0, 1.0]) * torch.tensor([100.0, 0.01, 1.0])
    assert select_sigma(made, y, torch.tensor([0.5, 1.0, 2.0])) == 1.0
    hidden = torch.cat([y, torch.full((30,), -1)])
    made = torch.cat([made, 9 * torch.rand(30, 3, 3)])
    assert select_sigma(made, hidden, torch.tensor([0.5, 1.0, 2.0])) == 1.0


def test_draws_of_a_level_are_averaged_and_the_lucky_one_does_not_decide():
    y = torch.arange(300) % 3
    made = told(y, [3.0, 0.0, 2.0, 2.0])
    assert select_sigma(made, y, torch.tensor([1.0, 1.0, 2.0, 2.0])) == 2.0
    assert select_sigma(made[:, :, :3], y, torch.tensor([1.0, 3.0, 2.0])) == 1.0


def test_accuracies_are_those_of_the_noises_that_tuning_begins_with():
    model, y = tiny(), torch.arange(30) % 3
    x = torch.randn(30, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    made = measure_single_noise_accuracy(model, (x, y), 0.7, range(6))
    assert made.shape == (6,)
    assert made.unique().numel() > 2
    for seed in (0, 3):
        still = NoiseTuningConfig("dataset", epochs=1, lr=1e-9, initial_scale=1.0, seed=seed)
        begun = optimize_noise(model, x, y, 0.7, still)
        right = (begun.score_batch(model, x).scores.argmax(1) == y).double().mean()
        assert right == made[seed]
    alone = measure_single_noise_accuracy(model, (x, y), 0.7, [3], Measure("l1", batch_size=11))
    assert alone[0] == made[3]


def test_power_is_told_apart_by_its_frequency():
    across = torch.arange(16).expand(16, 16)
    slow, fast = (torch.cos(2 * math.pi * across * f / 16) for f in (1, 8))
    assert compute_high_frequency_ratio(slow).item() == pytest.approx(0, abs=1e-9)
    assert compute_high_frequency_ratio(fast).item() == pytest.approx(1)
    assert compute_high_frequency_ratio(
        torch.stack([slow + 2, slow + fast])
    ).tolist() == pytest.approx(
        [0, 2 / 3]  # a wave at the highest frequency has no second place in the spectrum
    )
    assert compute_high_frequency_ratio(torch.zeros(4, 4)) == 0
    white = torch.randn(500, 16, 16, generator=torch.Generator().manual_seed(0))
    radius = torch.tensor([[math.hypot(*p) for p in grid] for grid in places(16)])
    band = (radius > 0.3 * radius.max()).double().mean()
    assert compute_high_frequency_ratio(white).mean().item() == pytest.approx(band.item(), abs=0.01)


def places(n: int) -> list[list[tuple[int, int]]]:
    folded = [min(i, n - i) for i in range(n)]
    return [[(a, b) for b in folded] for a in folded]


def test_bad_input_is_refused():
    y = torch.arange(6) % 3
    with pytest.raises(NoLabels):
        select_sigma(torch.rand(6, 3, 2), torch.full((6,), -1), torch.tensor([1.0, 2.0]))
    with pytest.raises(InputError, match="3 noise levels"):
        select_sigma(torch.rand(6, 3, 2), y, torch.ones(3))
    with pytest.raises(InputError, match="0 seeds"):
        measure_single_noise_accuracy(tiny(), (torch.zeros(6, 1, 8, 8), y), 1.0, [])
