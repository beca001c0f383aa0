"""The diffusion classifier: an image belongs to the class under which it is denoised best.

Alexander C. Li and others, 2023, Your Diffusion Model is Secretly a Zero-Shot Classifier,
arXiv 2303.16203: all classes of an image share the noise, so that only the effect of the class
remains in the difference of errors (common random numbers).

With squared errors and a perfect denoiser D the score is the log-likelihood, in nats, up to a
constant (Dongning Guo and others, 2005, Mutual Information and Minimum Mean-Square Error in
Gaussian Channels, doi:10.1109/TIT.2005.844072):

    log p(x | c) = const - 1/2 ∫ E |x - D|^2 d(1 / sigma^2)
                 = const - ∫ E |x - D|^2 / sigma^2 d(ln sigma)

so levels evenly spaced in ln sigma are weighted by 1 / sigma^2, which equals the paper's plain mean
of epsilon errors at its own levels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ilk.core.errors import InputError
from ilk.core.progress import Progress, silent_progress
from ilk.diffusion.denoiser.protocol import Denoises
from ilk.diffusion.errors.denoising_errors import DISTANCE_POWERS, DenoisingErrors
from ilk.diffusion.errors.denoising_errors import Measure as Measure
from ilk.diffusion.errors.denoising_errors import reconstruction_error as reconstruction_error


def draw_level_noise(network: Denoises, levels: int, seed: int = 0) -> Tensor:
    """Draw one noise per level, `[levels, c, h, w]`, shared by all classes and images.

    The errors of an image then do not depend on the other images in the batch.
    """
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(levels, *network.shape, generator=generator)


def compute_class_errors(
    network: Denoises,
    x: Tensor,
    sigmas: Tensor,
    noise: Tensor,
    measure: Measure = Measure(),  # noqa: B008  (frozen)
    progress: Progress = silent_progress,
    candidates: Tensor | None = None,
) -> Tensor:
    """Return the denoising error of each image, class and level, `[n, k, levels]` float32.

    Args:
        network: A denoiser of k classes.
        x: Images `[n, c, h, w]` in [-1, 1].
        sigmas: Noise levels `[levels]`.
        noise: Standard normal, `[levels, c, h, w]` (shared by all images), `[n, levels, c, h, w]`
            (per image) or `[n, k, levels, c, h, w]` (per image and class, for comparison only: it
            forfeits the common random numbers).
        measure: Distance, batch size, precision, device.
        progress: Reports network calls.
        candidates: Class indices `[n, q]` to compare for each image, such as a few captions out of
            thousands; the errors are then `[n, q, levels]`. None compares all k classes.

    Raises:
        InputError: The network has no classes, shapes do not match, or memory is too small.
    """
    denoising_errors = DenoisingErrors(network, x, sigmas, noise, measure)
    if candidates is None:
        candidates = torch.arange(len(network.classes)).expand(len(x), -1)
    elif candidates.dim() != 2 or len(candidates) != len(x):
        raise InputError(
            f"candidates of shape {tuple(candidates.shape)} do not go with {len(x)} images; give "
            "[images, candidates]"
        )
    (n, k), m = candidates.shape, len(sigmas)
    total, out, start = n * m * k, torch.empty(n * m * k), 0
    with progress("denoising", total) as advance:
        while denoising_errors.shares_passes and start < total:
            pairs = torch.arange(start // k, min(start // k + measure.batch_size, n * m))
            errors = denoising_errors.compute_all(pairs // m, pairs % m)
            out[start : start + errors.numel()] = errors.flatten()
            advance(errors.numel())
            start += errors.numel()
        while start < total:
            indices = torch.arange(start, min(start + denoising_errors.batch_size, total))
            image = indices // (m * k)
            out[indices] = denoising_errors.compute(
                image, candidates[image, indices % k], indices // k % m
            )
            advance(len(indices))
            start += len(indices)
    return out.view(n, m, k).transpose(1, 2)


def likelihood_weights(sigmas: Tensor, distance: str = "l2") -> Tensor:
    """Return weights `[levels]`, mean 1, under which errors sum to a likelihood bound.

    The levels must be evenly spaced in ln sigma. An absolute error is sigma times that of epsilon,
    a squared or Huber one sigma^2 times (`reconstruction_error`), so absolute errors are divided by
    sigma once.
    """
    weights = sigmas.double() ** -DISTANCE_POWERS[distance]
    return (weights / weights.mean()).float()


def compute_scores(errors: Tensor, weights: Tensor) -> Tensor:
    """Return scores `[n, k]`: minus the weighted mean over levels of errors `[n, k, levels]`."""
    return -(errors.double() * weights.double()).mean(2).float()
