"""Classes against each other under one learned noise: what `ilk.diffusion.tuning` lowers.

Wang and Chen, 2025, Noise Matters: Optimizing Matching Noise for Diffusion Classifiers,
arXiv 2508.11330. For each image, with n~ its noise and p = 1 (l1) or 2 (l2):

    e_k  = mean |n~ - eps_k|^p                 eps_k = (x + sigma n~ - D(x + sigma n~; c_k)) / sigma
    z_k  = (e_k - mean_k e) / std_k e          over the candidate classes, population std
    loss = -log softmax(-z)_y

n~ is both what the network has to find and part of what it sees, so the gradient reaches it twice;
in this convention the two meet in n~ - eps_k = (D - x) / sigma, where n~ stands in D alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ilk.diffusion.calls import Measure, distance
from ilk.diffusion.contract import Denoises
from ilk.diffusion.optimised_noise import standard
from ilk.errors import InputError, NoLabels
from ilk.training.chance import draws


@dataclass(frozen=True, eq=False)
class Contest:
    """A frozen network at one noise level, and how its errors are taken."""

    network: Denoises
    sigma: float
    measure: Measure

    def misses(self, x: Tensor, noise: Tensor, classes: Tensor) -> Tensor:
        """e `[b, m]`: how far the network is from finding each image's noise, as each class.

        Args:
            x: Clean images `[b, c, h, w]`.
            noise: n~ `[b, c, h, w]`.
            classes: Indices `[b, m]`.
        """
        b, m = classes.shape
        noisy, clean = (v.repeat_interleave(m, 0) for v in (x + self.sigma * noise, x))
        level = torch.full((b * m,), self.sigma, dtype=x.dtype, device=x.device)
        told, which = torch.unique(classes.flatten(), return_inverse=True)
        known = self.network.condition(told).to(x.device)[which.to(x.device)]
        low = self.measure.precision == "bfloat16"
        with torch.autocast(x.device.type, torch.bfloat16, enabled=low):
            made = self.network.denoise(noisy, level, known)
        made = made.to(x.dtype) / self.sigma
        return distance(made, clean / self.sigma, self.measure.distance).view(b, m)

    def loss(self, x: Tensor, noise: Tensor, classes: Tensor) -> Tensor:
        """Cross-entropy of each image's true class, which is the first of its `classes`."""
        z = standard(self.misses(x, noise, classes))
        return functional.cross_entropy(-z, torch.zeros(len(x), dtype=torch.long, device=z.device))


def candidates(y: Tensor, k: int, most: int, seed: int, step: int) -> Tensor:
    """The true class of each image, then others at random, no two alike, `[b, min(most, k)]`."""
    drawn = torch.rand(len(y), k, generator=draws(seed, step, "cpu"))
    return drawn.scatter(1, y[:, None], -1.0).argsort(1)[:, :most]


def usable(network: Denoises, x: Tensor, y: Tensor, sigma: float) -> None:
    """Refuse what no noise can be learned from.

    Raises:
        InputError: The network knows fewer than 2 classes, or images, labels or sigma do not go
            with it.
        NoLabels: No image has a label.
    """
    k = len(network.classes)
    if k < 2:
        raise InputError(f"this network knows {k} classes: a noise is learned to tell 2 or more")
    if tuple(x.shape[1:]) != network.shape:
        told, takes = (" x ".join(map(str, s)) for s in (x.shape[1:], network.shape))
        raise InputError(f"images of {told} cannot go in: the network takes {takes}")
    if len(x) != len(y) or (len(y) and int(y.max()) >= k):
        raise InputError(
            f"{len(x)} images and {len(y)} labels, the highest {int(y.max()) if len(y) else -1}: "
            f"give each image a class below {k}, or -1 where it is not known"
        )
    if not bool((y >= 0).any()):
        raise NoLabels("a noise is learned from labelled images and there are none; label a few")
    if not 0 < sigma < math.inf:
        raise InputError(f"a noise level of {sigma} cannot be: sigma must be above 0")
