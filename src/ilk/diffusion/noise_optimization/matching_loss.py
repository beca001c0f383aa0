"""The loss of an optimized noise (`ilk.diffusion.noise_optimization.tuning`).

Wang and Chen, 2025, Noise Matters: Optimizing Matching Noise for Diffusion Classifiers,
arXiv 2508.11330. For each image, with n~ its noise and d the absolute, squared or Huber distance:

    e_k  = mean d(n~ - eps_k)                  eps_k = (x + sigma n~ - D(x + sigma n~; c_k)) / sigma
    z_k  = (e_k - mean_k e) / std_k e          over the candidate classes, population std
    loss = -log softmax(-z)_y

n~ is both the target and part of the input of the network, so the gradient reaches it twice; in
this parameterization n~ - eps_k = (D - x) / sigma, where n~ occurs in D only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ilk.core.errors import InputError, NoLabels
from ilk.diffusion.denoiser.protocol import Denoises
from ilk.diffusion.errors.denoising_errors import (
    DISTANCE_POWERS,
    Measure,
    reconstruction_error,
)
from ilk.diffusion.noise_optimization.optimized_noise import standardize_errors


@dataclass(frozen=True, eq=False)
class MatchingLoss:
    """A frozen network at one noise level, with the distance of its errors."""

    network: Denoises
    sigma: float
    measure: Measure

    def compute_noise_errors(self, x: Tensor, noise: Tensor, classes: Tensor) -> Tensor:
        """Return the errors e `[b, m]` of predicting each image's noise under each class.

        Args:
            x: Clean images `[b, c, h, w]`.
            noise: n~ `[b, c, h, w]`.
            classes: Indices `[b, m]`.
        """
        b, m = classes.shape
        noisy, clean = (v.repeat_interleave(m, 0) for v in (x + self.sigma * noise, x))
        level = torch.full((b * m,), self.sigma, dtype=x.dtype, device=x.device)
        distinct_classes, inverse = torch.unique(classes.flatten(), return_inverse=True)
        condition = self.network.condition(distinct_classes).to(x.device)[inverse.to(x.device)]
        use_bfloat16 = self.measure.precision == "bfloat16"
        with torch.autocast(x.device.type, torch.bfloat16, enabled=use_bfloat16):
            predicted = self.network.denoise(noisy, level, condition)
        errors = reconstruction_error(predicted.to(x.dtype), clean, self.measure.distance, level)
        return errors.view(b, m) / self.sigma ** DISTANCE_POWERS[self.measure.distance]

    def compute_loss(self, x: Tensor, noise: Tensor, classes: Tensor) -> Tensor:
        """Return the scalar cross-entropy of images `[b, c, h, w]`; the first of `classes` `[b, m]`
        is true.
        """
        z = standardize_errors(self.compute_noise_errors(x, noise, classes))
        return functional.cross_entropy(-z, torch.zeros(len(x), dtype=torch.long, device=z.device))


def check_tuning_data(network: Denoises, x: Tensor, y: Tensor, sigma: float) -> None:
    """Check images `[n, c, h, w]` and labels `[n]` for noise optimization.

    Raises:
        InputError: The network knows fewer than 2 classes, or images, labels or sigma do not match.
        NoLabels: No image has a label.
    """
    k = len(network.classes)
    if k < 2:
        raise InputError(f"this network knows {k} classes: a noise is learned to tell 2 or more")
    if tuple(x.shape[1:]) != network.shape:
        actual, expected = (" x ".join(map(str, s)) for s in (x.shape[1:], network.shape))
        raise InputError(f"images of {actual} cannot be processed: the network takes {expected}")
    if len(x) != len(y) or (len(y) and int(y.max()) >= k):
        raise InputError(
            f"{len(x)} images and {len(y)} labels, the highest {int(y.max()) if len(y) else -1}: "
            f"give each image a class below {k}, or -1 where it is not known"
        )
    if not bool((y >= 0).any()):
        raise NoLabels("a noise is learned from labelled images and there are none; label a few")
    if not 0 < sigma < math.inf:
        raise InputError(f"a noise level of {sigma} is not possible: sigma must be above 0")
