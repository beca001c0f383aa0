"""Choose single noises on held-out images: none, a random or an optimized one, at which levels.

Wang and Chen, 2025, arXiv 2508.11330, fix the noise level and the epoch. Which of them is best, and
whether an optimized noise is better than none, depends on network and data, so both are chosen by
the cross-entropy of held-out images here. Candidates are zero noise at every level, random noises
at the best of these levels, and noises optimized at the best few. Members of an ensemble are added
greedily while they reduce that cross-entropy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ilk.core.errors import InputError
from ilk.core.progress import Progress, silent_progress
from ilk.diffusion.denoiser.protocol import Denoises
from ilk.diffusion.errors.class_errors import compute_class_errors, draw_level_noise
from ilk.diffusion.errors.levels import Levels
from ilk.diffusion.noise_optimization.ensemble import NoiseEnsemble
from ilk.diffusion.noise_optimization.matching_loss import check_tuning_data
from ilk.diffusion.noise_optimization.optimized_noise import (
    OptimizedNoise,
    make_fixed_noise,
    standardize_errors,
)
from ilk.diffusion.noise_optimization.single_noise import (
    compute_image_losses,
    minimize_score_entropy,
)
from ilk.diffusion.noise_optimization.tuning import NoiseTuningConfig, optimize_noise
from ilk.training.rng import mix_seeds


@dataclass(frozen=True)
class NoiseSelectionConfig:
    """What is compared.

    Attributes:
        max_members: Maximum number of noises, which is the number of network calls per class.
        n_levels: Noise levels at which zero noise is evaluated.
        n_random: Random noises at the best of these levels.
        n_optimized: Levels at which a noise is optimized, the best ones under zero noise.
        tuning: How noises are optimized; its measure and seed are used throughout.

    Raises:
        InputError: A number is out of range.
    """

    max_members: int = 1
    n_levels: int = 12
    n_random: int = 8
    n_optimized: int = 3
    tuning: NoiseTuningConfig = field(default_factory=NoiseTuningConfig)

    def __post_init__(self) -> None:
        if min(self.max_members, self.n_levels) < 1 or min(self.n_random, self.n_optimized) < 0:
            raise InputError(
                f"{self.max_members} members, {self.n_levels} levels, {self.n_random} random and "
                f"{self.n_optimized} optimized noises cannot be compared; give at least 1, 1, 0, 0"
            )


@dataclass(frozen=True, eq=False)
class Candidate:
    """A noise and its scores `[n, k]` of the held-out images."""

    noise: OptimizedNoise
    scores: Tensor


def select_noises(
    network: Denoises,
    training: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    config: NoiseSelectionConfig = NoiseSelectionConfig(),
    progress: Progress = silent_progress,
) -> NoiseEnsemble:
    """Return the noises that classify held-out images best.

    Args:
        network: A denoiser of at least 2 classes.
        training: Images `[n, c, h, w]` in [-1, 1] and class indices, on which noises are optimized.
        validation: Held-out images and class indices, on which everything is chosen.
        config: What is compared.
        progress: Reports network calls and updates.

    Raises:
        InputError: The network knows fewer than 2 classes, or images and labels do not match.
        NoLabels: No image of a part has a label.
        DivergenceError: The optimization diverged.
    """
    candidates = make_candidates(network, training, validation, config, progress)
    y = validation[1][validation[1] >= 0]
    members = choose_members(candidates, y, config.max_members)
    return NoiseEnsemble(
        tuple(c.noise for c in members),
        {
            "held-out images": len(y),
            "seed": config.tuning.seed,
            "candidates": describe_best(candidates, y),
        },
    )


def make_candidates(
    network: Denoises,
    training: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    config: NoiseSelectionConfig,
    progress: Progress = silent_progress,
) -> list[Candidate]:
    """Return all candidates with their scores `[n, k]` of the labelled held-out images.

    Arguments and errors are those of `select_noises`.
    """
    for x, y in (training, validation):
        check_tuning_data(network, x, y, 1.0)
    x, y = validation[0][validation[1] >= 0].float(), validation[1][validation[1] >= 0]
    candidates = make_zero_candidates(network, x, config, progress)
    ranked = rank_candidates(candidates, y)
    candidates += make_random_candidates(network, x, ranked[0].noise.sigma, config, progress)
    starts = ranked[: config.n_optimized]
    for i, zero in enumerate(starts, 1):
        numbered = _number_rounds(progress, f"{i} of {len(starts)}")
        noise = optimize_noise(
            network, *training, zero.noise.sigma, config.tuning, numbered, (x, y)
        )
        noise = replace(noise, metadata={"kind": "optimised", **noise.metadata})
        scores = noise.score_batch(network, x, config.tuning.measure).scores
        candidates.append(Candidate(noise, scores))
    return candidates


def _number_rounds(progress: Progress, number: str) -> Progress:
    """Return `progress` with the number of a round behind what is done in it."""
    return lambda what, total: progress(f"{what} {number}", total)


def make_zero_candidates(
    network: Denoises, x: Tensor, config: NoiseSelectionConfig, progress: Progress
) -> list[Candidate]:
    """Return zero noise at every level, scored on images `[n, c, h, w]`."""
    sigmas = Levels.log_spaced(network, config.n_levels).sort_by_sigma().sigmas
    zero = torch.zeros(network.shape)
    return _score_fixed(network, x, [(s, zero) for s in sigmas], "none", config, progress)


def make_random_candidates(
    network: Denoises, x: Tensor, sigma: float, config: NoiseSelectionConfig, progress: Progress
) -> list[Candidate]:
    """Return random noises at level `sigma`, scored on images `[n, c, h, w]`."""
    seeds = [mix_seeds(config.tuning.seed, i) for i in range(config.n_random)]
    noises = [(sigma, draw_level_noise(network, 1, s)[0]) for s in seeds]
    return _score_fixed(network, x, noises, "random", config, progress) if noises else []


def _score_fixed(
    network: Denoises,
    x: Tensor,
    noises: Sequence[tuple[float, Tensor]],
    kind: str,
    config: NoiseSelectionConfig,
    progress: Progress,
) -> list[Candidate]:
    measure = config.tuning.measure
    sigmas, stacked = torch.tensor([s for s, _ in noises]), torch.stack([n for _, n in noises])
    errors = compute_class_errors(network, x, sigmas, stacked, measure, progress)
    return [
        Candidate(
            make_fixed_noise(network, noise, sigma, measure, kind),
            -standardize_errors(errors[:, :, i]),
        )
        for i, (sigma, noise) in enumerate(noises)
    ]


def rank_candidates(candidates: Sequence[Candidate], y: Tensor) -> list[Candidate]:
    """Return the candidates by cross-entropy of held-out images of classes `y [n]`, best first."""
    return sorted(candidates, key=lambda c: float(minimize_score_entropy(c.scores, y)))


def choose_members(candidates: Sequence[Candidate], y: Tensor, max_members: int) -> list[Candidate]:
    """Add members while the cross-entropy of their mean scores on classes `y [n]` decreases.

    Zero noise is preferred to a noise that is better by less than one standard error, since the
    best of many noises is better by chance.
    """
    members: list[Candidate] = []
    total, best = torch.zeros_like(candidates[0].scores), float("inf")
    while len(members) < max_members:
        others = [c for c in candidates if c not in members]
        if not others:
            break
        losses = torch.stack([compute_image_losses(total + c.scores, y) for c in others])
        chosen = _prefer_zero_noise(others, losses)
        loss = float(losses[chosen].mean())
        if loss >= best:
            break
        best = loss
        members.append(others[chosen])
        total = total + members[-1].scores
    return members


def _prefer_zero_noise(candidates: Sequence[Candidate], losses: Tensor) -> int:
    """Return the position of the lowest mean of losses `[candidates, n]`, or of zero noise."""
    means = losses.mean(1)
    lowest = int(means.argmin())
    zeros = [i for i, c in enumerate(candidates) if c.noise.metadata["kind"] == "none"]
    if not zeros:
        return lowest
    zero = min(zeros, key=lambda i: float(means[i]))
    gains = losses[zero] - losses[lowest]
    standard_error = float(gains.std(correction=0)) / len(gains) ** 0.5
    return lowest if float(gains.mean()) > standard_error else zero


def describe_best(candidates: Sequence[Candidate], y: Tensor) -> dict[str, Any]:
    """Return level, cross-entropy and accuracy, on classes `y [n]`, of the best of each kind."""
    best: dict[str, Any] = {}
    for candidate in rank_candidates(candidates, y):
        best.setdefault(
            candidate.noise.metadata["kind"],
            {
                "sigma": candidate.noise.sigma,
                "loss": float(minimize_score_entropy(candidate.scores, y)),
                "accuracy": float((candidate.scores.argmax(1) == y).double().mean()),
            },
        )
    return best
