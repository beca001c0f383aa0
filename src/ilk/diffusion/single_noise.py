"""One noise level and one noise: which level tells most, how well random noises do there, and
what a learned noise is made of.

Wang and Chen, 2025, Noise Matters: Optimizing Matching Noise for Diffusion Classifiers,
arXiv 2508.11330: with a single random noise, accuracy hangs on the draw.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ilk.diffusion.calls import Measure
from ilk.diffusion.classify import errors, noises
from ilk.diffusion.contract import Denoises
from ilk.diffusion.optimised_noise import TINY, standard
from ilk.errors import InputError, NoLabels
from ilk.progress import Progress, silent

TEMPERATURES = tuple(2 ** (i / 2) for i in range(-2, 10))  # factors of z, to 22
LOW_BAND = 0.3  # of the largest radius of the spectrum; what lies beyond is high frequency


def best_sigma(errors: Tensor, y: Tensor, sigmas: Tensor) -> float:
    """The noise level that tells a few labelled images apart best, by itself.

    It has the lowest cross-entropy of the standardised errors at the temperature that suits it
    best. At one temperature for all, the level whose errors lie furthest apart would win, not the
    one that is right most often; and a count of right answers is too coarse for a few images. A
    level may stand in `sigmas` several times, each with its own noise: the draws are averaged.

    Args:
        errors: `[n, k, levels]` of training images, as `ilk.diffusion.classify.errors` gives, under
            the noise that tuning begins with: none, or random ones.
        y: Class indices `[n]`; rows of -1 are left out.
        sigmas: `[levels]`.

    Raises:
        InputError: Shapes do not go together.
        NoLabels: No image has a label.
    """
    if errors.dim() != 3 or errors.shape[::2] != (len(y), len(sigmas)):
        raise InputError(
            f"errors of shape {tuple(errors.shape)} do not go with {len(y)} labels and "
            f"{len(sigmas)} noise levels; give [images, classes, levels]"
        )
    known = y >= 0
    if not bool(known.any()):
        raise NoLabels("a noise level is chosen on labelled images and there are none")
    of = [float(cross_entropy(each[known], y[known])) for each in errors.unbind(2)]
    levels, inverse = torch.unique(sigmas.double(), return_inverse=True)
    total = torch.zeros_like(levels).scatter_reduce(
        0, inverse, torch.tensor(of, dtype=torch.float64), "mean", include_self=False
    )
    return float(levels[total.argmin()])


def cross_entropy(errors: Tensor, y: Tensor) -> Tensor:
    """Mean of `-log softmax(-z t)_y` in nats for errors `[n, k]`, at the best of some t."""
    z = standard(errors.double())
    return torch.stack([functional.cross_entropy(-z * t, y) for t in TEMPERATURES]).amin()


def single_noise_accuracy(
    network: Denoises,
    batch: tuple[Tensor, Tensor],
    sigma: float,
    seeds: Sequence[int],
    measure: Measure = Measure("l1"),  # noqa: B008  (frozen)
    progress: Progress = silent,
) -> Tensor:
    """Accuracy of the diffusion classifier with one random noise, for each seed, `[seeds]` float64.

    The noise of a seed is the one that `optimise` begins with under that seed.

    Args:
        network: Knows k classes.
        batch: Images `[n, c, h, w]` in [-1, 1] and their class indices `[n]`.
        sigma: The noise level.
        seeds: 50 or more show how far the draw matters.
        measure: Distance, calls at once, precision, device.
        progress: Told of the calls.

    Raises:
        InputError: There is no image or no seed.
    """
    x, y = batch
    if not len(x) or not seeds:
        raise InputError(f"{len(x)} images and {len(seeds)} seeds have no accuracy")
    noise = torch.cat([noises(network, 1, seed) for seed in seeds])
    made = errors(network, x, torch.full((len(seeds),), sigma), noise, measure, progress)
    return (made.argmin(1) == y[:, None]).double().mean(0)


def frequency_share(noise: Tensor) -> Tensor:
    """Share of the power of noise `[..., h, w]` at high frequencies, `[...]` float64.

    High is beyond 0.3 of the spectrum's largest radius. A noise that matches a data set destroys
    the band that tells its classes (the paper's Frequency Matching). White noise has as large a
    share there as the band has of the spectrum's places; no noise has 0.
    """
    power = torch.fft.fft2(noise.double()).abs().square()
    down, right = (torch.fft.fftfreq(n, dtype=torch.float64) for n in noise.shape[-2:])
    radius = (down[:, None] ** 2 + right**2).sqrt()
    beyond = radius > LOW_BAND * radius.max()
    share: Tensor = (power * beyond).sum((-2, -1)) / power.sum((-2, -1)).clamp_min(TINY)
    return share
