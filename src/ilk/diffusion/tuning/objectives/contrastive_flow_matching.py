"""Contrastive flow matching: the prediction is pushed from the target of an image of another class.

George Stoica and others, 2025, Contrastive Flow Matching, arXiv 2506.05350, eq. 5:

    loss = mean |F - F*(x, n)|^2 - l |F - F*(x', n')|^2

with F the output of the network for the noised x, F* its target, and x', n' image and noise of
another row. No second pass is needed. Departure: F* is the target of this project's
parameterization (Karras et al. 2022, arXiv 2206.00364, eq. 8) at the noise level of x, in place of
the velocity `n - x`. Rows whose other row has the same label, or no label, have no second term.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from ilk.core.errors import InputError
from ilk.diffusion.contrast.noised_batch import NoisedBatch, replace_unknown
from ilk.diffusion.contrast.objective import TuningObjective
from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.denoiser.noise_levels import LogNormal
from ilk.diffusion.denoiser.protocol import expand_like
from ilk.training.objective import Augmentation, TrainingStep, unwrap


class ContrastiveFlowMatching(TuningObjective):
    """Contrastive flow matching; its first term is the anchor, with weight 1.

    Args:
        noise, anchor, augmentations: As in `TuningObjective`.
        negative_weight: l, in [0, 1); at 0 this is pretraining without label dropout.

    Raises:
        InputError: A number is out of range.
    """

    default_anchor = 1.0
    default_noise = (0.3, 1.0)  # all that a sampler passes through

    def __init__(
        self,
        noise: LogNormal,
        anchor: float | None = None,
        augmentations: tuple[Augmentation, ...] = (),
        negative_weight: float = 0.05,
    ) -> None:
        super().__init__(noise, anchor, augmentations)
        if not 0 <= negative_weight < 1:
            raise InputError(f"negative_weight {negative_weight} must be at least 0 and below 1")
        self.negative_weight = negative_weight

    def compute_contrast(
        self, network: nn.Module, noised: NoisedBatch, y: Tensor, step: TrainingStep
    ) -> tuple[Tensor, Tensor]:
        """Return the contrast, a scalar, and the errors of the labels, `[n]`."""
        denoiser = unwrap(network, Denoiser)
        label = replace_unknown(y, len(denoiser.classes))
        denoised = cast(Tensor, network(noised.noisy, noised.sigma, label)).float()
        errors = noised.weight * (denoised - noised.clean).square().flatten(1).mean(1)
        other = compute_other_targets(denoiser, noised)
        distances = noised.weight * (denoised - other).square().flatten(1).mean(1)
        differs = (y != y.roll(1)) & (y >= 0) & (y.roll(1) >= 0)
        return -self.negative_weight * (distances * differs).mean(), errors


def compute_other_targets(denoiser: Denoiser, noised: NoisedBatch) -> Tensor:
    """Return the clean images `[n, c, h, w]` that the targets of the previous rows stand for.

    The target of an image x with noise n at level sigma, with s the deviation of the data, is

        F* = (sigma x / s - s n) / sqrt(sigma^2 + s^2)

    and a prediction F stands for the clean image `c_skip (x + sigma n) + c_out F`. Both distances
    are thus between images, with one weight: `weight |D - D'|^2 = |F - F'|^2`.
    """
    s, sigma = denoiser.sigma_data, expand_like(noised.sigma, noised.clean)
    total = (sigma**2 + s**2).sqrt()
    target = (sigma * noised.clean.roll(1, 0) / s - s * noised.epsilon.roll(1, 0)) / total
    return (s / total) ** 2 * noised.noisy + sigma * s / total * target
