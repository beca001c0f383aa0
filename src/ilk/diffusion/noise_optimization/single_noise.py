"""Select a single noise level, and analyse single noises.

Wang and Chen, 2025, Noise Matters: Optimizing Matching Noise for Diffusion Classifiers,
arXiv 2508.11330: with a single random noise, accuracy depends on the draw.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ilk.core.errors import InputError, NoLabels
from ilk.core.progress import Progress, silent_progress
from ilk.diffusion.denoiser.protocol import Denoises
from ilk.diffusion.errors.class_errors import compute_class_errors, draw_level_noise
from ilk.diffusion.errors.denoising_errors import Measure
from ilk.diffusion.noise_optimization.optimized_noise import MIN_VARIANCE, standardize_errors

INVERSE_TEMPERATURES = tuple(2 ** (i / 2) for i in range(-2, 10))  # factors of z, to 22
HIGH_FREQUENCY_START = (
    0.3  # of the largest radius of the spectrum; what lies beyond is high frequency
)


def select_sigma(errors: Tensor, y: Tensor, sigmas: Tensor) -> float:
    """Return the noise level that classifies a few labelled images best by itself.

    It has the lowest cross-entropy of the standardised errors at its own best temperature. With one
    temperature for all levels, the one with the largest error differences would win instead;
    accuracy is too coarse for a few images. A level may occur several times in `sigmas`, with
    different noises; these are averaged.

    Args:
        errors: `[n, k, levels]` of training images (`compute_class_errors`), under the noise that
            tuning starts from: none, or random ones.
        y: Class indices `[n]`; rows of -1 are ignored.
        sigmas: `[levels]`.

    Raises:
        InputError: Shapes do not match.
        NoLabels: No image has a label.
    """
    if errors.dim() != 3 or errors.shape[::2] != (len(y), len(sigmas)):
        raise InputError(
            f"errors of shape {tuple(errors.shape)} do not go with {len(y)} labels and "
            f"{len(sigmas)} noise levels; give [images, classes, levels]"
        )
    is_labelled = y >= 0
    if not bool(is_labelled.any()):
        raise NoLabels("a noise level is chosen on labelled images and there are none")
    losses = [
        float(minimize_cross_entropy(level_errors[is_labelled], y[is_labelled]))
        for level_errors in errors.unbind(2)
    ]
    levels, inverse = torch.unique(sigmas.double(), return_inverse=True)
    mean_losses = torch.zeros_like(levels).scatter_reduce(
        0, inverse, torch.tensor(losses, dtype=torch.float64), "mean", include_self=False
    )
    return float(levels[mean_losses.argmin()])


def minimize_cross_entropy(errors: Tensor, y: Tensor) -> Tensor:
    """Return the mean of `-log softmax(-z t)_y` in nats, a scalar, of errors `[n, k]`, at the best
    t.
    """
    return minimize_score_entropy(-standardize_errors(errors.double()), y)


def minimize_score_entropy(scores: Tensor, y: Tensor) -> Tensor:
    """Return the mean of `-log softmax(scores t)_y` in nats, a scalar, at the best t."""
    return compute_image_losses(scores, y).mean()


def compute_image_losses(scores: Tensor, y: Tensor) -> Tensor:
    """Return `-log softmax(scores t)_y` of each image in nats, `[n]`, at the t of lowest mean."""
    scores = scores.double()
    losses = torch.stack(
        [functional.cross_entropy(scores * t, y, reduction="none") for t in INVERSE_TEMPERATURES]
    )
    return losses[losses.mean(1).argmin()]


def measure_single_noise_accuracy(
    network: Denoises,
    batch: tuple[Tensor, Tensor],
    sigma: float,
    seeds: Sequence[int],
    measure: Measure = Measure("l1"),  # noqa: B008  (frozen)
    progress: Progress = silent_progress,
) -> Tensor:
    """Return the accuracy of the diffusion classifier with one random noise per seed, `[seeds]`
    float64.

    The noise of a seed is the one that `optimize_noise` starts from with that seed.

    Args:
        network: A denoiser of k classes.
        batch: Images `[n, c, h, w]` in [-1, 1] and their class indices `[n]`.
        sigma: Noise level.
        seeds: Seeds; 50 or more show the variation.
        measure: Distance, batch size, precision, device.
        progress: Reports network calls.

    Raises:
        InputError: There is no image or no seed.
    """
    x, y = batch
    if not len(x) or not seeds:
        raise InputError(f"{len(x)} images and {len(seeds)} seeds have no accuracy")
    noise = torch.cat([draw_level_noise(network, 1, seed) for seed in seeds])
    raw_errors = compute_class_errors(
        network, x, torch.full((len(seeds),), sigma), noise, measure, progress
    )
    return (raw_errors.argmin(1) == y[:, None]).double().mean(0)


def compute_high_frequency_ratio(noise: Tensor) -> Tensor:
    """Return the proportion of the power of noise `[..., h, w]` at high frequencies, `[...]`
    float64.

    High means beyond 0.3 of the largest radius of the spectrum. A noise that matches a data set
    suppresses the band that distinguishes its classes (Frequency Matching in the paper). White
    noise has the proportion of frequencies in the band; zero noise has 0.
    """
    power = torch.fft.fft2(noise.double()).abs().square()
    down, right = (torch.fft.fftfreq(n, dtype=torch.float64) for n in noise.shape[-2:])
    radius = (down[:, None] ** 2 + right**2).sqrt()
    is_high = radius > HIGH_FREQUENCY_START * radius.max()
    ratio: Tensor = (power * is_high).sum((-2, -1)) / power.sum((-2, -1)).clamp_min(MIN_VARIANCE)
    return ratio
