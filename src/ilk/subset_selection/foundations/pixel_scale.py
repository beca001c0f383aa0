"""8-bit pixels as standardized numbers, and back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

MIN_STD = 0.02  # of a channel, in units of white


@dataclass(frozen=True, eq=False)
class PixelScale:
    """Mean and standard deviation of each channel.

    Attributes:
        mean: `[c, 1, 1]`, of pixels in [0, 1].
        std: `[c, 1, 1]`, > 0.
    """

    mean: Tensor
    std: Tensor

    @classmethod
    def fit(cls, x: Tensor) -> PixelScale:
        """Return the scale of images `x [n, c, h, w]` uint8."""
        values = x.to(torch.float32) / 255
        mean, std = values.mean((0, 2, 3)), values.std((0, 2, 3), correction=0)
        return cls(mean[:, None, None], std.clamp(min=MIN_STD)[:, None, None])

    def standardize(self, x: Tensor) -> Tensor:
        """Return images `[n, c, h, w]` uint8 as float32 of about mean 0 and deviation 1."""
        return (x.to(torch.float32) / 255 - self.mean.to(x.device)) / self.std.to(x.device)

    def to_pixels(self, z: Tensor) -> Tensor:
        """Return standardized images `[n, c, h, w]` as uint8, the nearest that there is."""
        pixels = z.detach() * self.std.to(z.device) + self.mean.to(z.device)
        return (255 * pixels).round().clamp(0, 255).to(torch.uint8)

    def clamp(self, z: Tensor) -> Tensor:
        """Return standardized images `[n, c, h, w]`, none darker than black or above white."""
        mean, std = self.mean.to(z.device), self.std.to(z.device)
        return torch.maximum(torch.minimum(z, (1 - mean) / std), -mean / std)
