"""Accuracy of a diffusion classifier under each weighting of its noise levels, on held-out images.

`uniform` is the plain mean of epsilon errors, `exp(-7t)` decays with time (Kevin Clark and Priyank
Jaini, 2023, arXiv 2303.15233), `learned` is fitted to the images that are not held out,
cross-validated within them (Yujin Jeong and others, 2025, arXiv 2505.17955, section 5.4).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ilk.core.errors import InputError
from ilk.core.metrics import wilson_interval
from ilk.core.progress import Progress
from ilk.diffusion.denoiser.protocol import Denoises
from ilk.diffusion.errors.class_errors import compute_class_errors, compute_scores
from ilk.diffusion.errors.denoising_errors import Measure
from ilk.diffusion.errors.levels import Levels
from ilk.diffusion.generation.sample import Sampler

WEIGHTINGS = {"uniform": "likelihood", "exp(-7t)": "fading"}  # in terms of the clean image's errors


@dataclass(frozen=True)
class SelfBenchConfig:
    """Settings of the benchmark on generated images.

    Attributes:
        n_per_class: Images generated per class, >= 1.
        sampler: How they are sampled; guidance makes classes more distinct.
        n_levels: Number of noise levels for classification.
        seed: Seed of the split and of the noise for classification.
        measure: Distance, batch size, precision, device.

    Raises:
        InputError: `n_per_class` is below 1.
    """

    n_per_class: int = 40
    sampler: Sampler = field(default_factory=Sampler)
    n_levels: int = 16
    seed: int = 0
    measure: Measure = field(default_factory=Measure)

    def __post_init__(self) -> None:
        if self.n_per_class < 1:
            raise InputError(f"n_per_class is {self.n_per_class}; it must be at least 1")


def evaluate_weightings(
    network: Denoises,
    x: Tensor,
    y: Tensor,
    is_test: Tensor,
    config: SelfBenchConfig,
    progress: Progress,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Evaluate each weighting, and each level alone, on held-out images.

    Args:
        network: A denoiser of k classes.
        x: Images `[n, c, h, w]` in [-1, 1].
        y: Class indices `[n]`.
        is_test: Whether each image is held out, `[n]` bool.
        config: Settings of the benchmark.
        progress: Reports network calls.

    Returns:
        Correctness `[m]` of the held-out images by weighting, and details as plain JSON.
    """
    measure, even = config.measure, make_even_levels(network, config)
    noise, sigmas = even.draw_noise(network, config.seed), torch.tensor(even.sigmas)
    class_errors = compute_class_errors(network, x, sigmas, noise, measure, progress)
    return compare_weightings(network, class_errors, y, is_test, config)


def make_even_levels(
    network: Denoises, config: SelfBenchConfig, weights: str = "uniform"
) -> Levels:
    """Return the noise levels of the benchmark under one of its weightings."""
    rule, distance = WEIGHTINGS[weights], config.measure.distance
    return Levels.log_spaced(network, config.n_levels, weights=rule, distance=distance)


def compare_weightings(
    network: Denoises, class_errors: Tensor, y: Tensor, is_test: Tensor, config: SelfBenchConfig
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Evaluate each weighting on errors `[n, q, levels]` of q candidates, of which `y` is true.

    The levels are those of `make_even_levels`; other arguments and results are those of
    `evaluate_weightings`.
    """
    measure, m = config.measure, config.n_levels
    levels_by_weighting = {name: make_even_levels(network, config, name) for name in WEIGHTINGS}
    even = levels_by_weighting["uniform"]
    learned = Levels.learn(class_errors[~is_test], y[~is_test], even, distance=measure.distance)
    positions = torch.tensor([even.noise_indices.index(d) for d in learned.noise_indices])
    correct = {
        name: is_correct(
            compute_scores(class_errors[is_test], torch.tensor(levels.weights)), y[is_test]
        )
        for name, levels in levels_by_weighting.items()
    }
    weights = torch.tensor(learned.weights)
    correct["learned"] = is_correct(
        compute_scores(class_errors[is_test][:, :, positions], weights), y[is_test]
    )
    level_accuracies = [
        is_correct(-class_errors[is_test][:, :, j], y[is_test]).double().mean().item()
        for j in range(m)
    ]
    accuracy_by_sigma = dict(zip(even.sigmas, level_accuracies, strict=True))
    return correct, {
        "weights": learned.to_json(),
        "one level alone": [
            {"sigma": s, "accuracy": accuracy_by_sigma[s]} for s in sorted(accuracy_by_sigma)
        ],
    }


def is_correct(scores: Tensor, y: Tensor) -> Tensor:
    """Return whether the score `[n, k]` of the true class `[n]` exceeds all others, `[n]`."""
    true = scores.gather(1, y[:, None])
    others = scores.scatter(1, y[:, None], -torch.inf)
    return true[:, 0] > others.amax(1)


def summarize_accuracy(correct: Tensor) -> dict[str, float]:
    """Return hits, count, accuracy and Wilson interval of `correct` `[n]`."""
    estimate = wilson_interval(int(correct.sum()), len(correct))
    return {"hits": int(correct.sum()), "of": len(correct), "value": estimate.value,
            "low": estimate.low, "high": estimate.high}  # fmt: skip


def compare_paired(first: Tensor, second: Tensor) -> dict[str, float]:
    """Return the difference of two accuracies on the same images `[n]`, with a 95 % interval
    (paired, normal).
    """
    differences = first.double().numpy() - second.double().numpy()
    half_width = 1.96 * float(np.std(differences)) / len(differences) ** 0.5
    mean = float(np.mean(differences))
    return {"value": mean, "low": mean - half_width, "high": mean + half_width}
