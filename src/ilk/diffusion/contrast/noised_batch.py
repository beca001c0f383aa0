"""Noised images and their denoising errors, as the objectives of tuning compare them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.denoiser.noise_levels import LogNormal
from ilk.diffusion.denoiser.protocol import expand_like


@dataclass(frozen=True, eq=False)
class NoisedBatch:
    """Images with one noise level and one noise each, shared by all that is compared on them.

    Attributes:
        clean: Images in [-1, 1], `[n, c, h, w]`.
        sigma: Noise levels `[n]`.
        epsilon: Standard normal noise `[n, c, h, w]`.
        weight: Weights `[n]` of the squared errors at these levels.
    """

    clean: Tensor
    sigma: Tensor
    epsilon: Tensor
    weight: Tensor

    @classmethod
    def draw(
        cls, denoiser: Denoiser, noise: LogNormal, x: Tensor, generator: torch.Generator
    ) -> NoisedBatch:
        """Draw a noise level and noise for each image of `x` `[n, c, h, w]` in [-1, 1]."""
        clean = x.float()
        sigma = noise.draw(len(clean), generator)
        epsilon = torch.randn(clean.shape, generator=generator, device=generator.device)
        return cls(clean, sigma, epsilon, denoiser.compute_loss_weight(sigma))

    @property
    def noisy(self) -> Tensor:
        """The images with their noise, `[n, c, h, w]`."""
        return self.clean + expand_like(self.sigma, self.clean) * self.epsilon

    @property
    def n_pixels(self) -> int:
        """Number of values of an image, over which errors are averaged."""
        return self.clean[0].numel()

    def replace_images(self, x: Tensor) -> NoisedBatch:
        """Return other images `[n, c, h, w]` in [-1, 1] with the same levels and noise."""
        return NoisedBatch(x.float(), self.sigma, self.epsilon, self.weight)

    def compute_errors(self, network: nn.Module, classes: Tensor) -> Tensor:
        """Return the weighted mean squared errors under `classes`, of the same shape, float32.

        Args:
            network: The denoiser, possibly wrapped.
            classes: Class indices of the network, `[n]`, or several for each image, `[n, m]`.
        """
        denoised = cast(Tensor, network(self.noisy, self.sigma, classes)).float()
        if classes.dim() == 1:
            return self.weight * (denoised - self.clean).square().flatten(1).mean(1)
        squares = (denoised - self.clean[:, None]).square().flatten(2).mean(2)
        return self.weight[:, None] * squares


def replace_unknown(y: Tensor, k: int) -> Tensor:
    """Return labels `[n]` with the null class k where they are -1."""
    return torch.where(y < 0, k, y)
