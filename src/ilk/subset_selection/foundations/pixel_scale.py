"""8-bit pixels as standardized numbers, and back."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ilk.training.batch import Batch

MIN_STD = 0.02  # of a channel, in units of white
CHUNK = 1000  # images at a time


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
        total = torch.zeros(2, x.shape[1], dtype=torch.float64)
        for part in torch.split(x, CHUNK):
            values = part.to(torch.float64) / 255
            total += torch.stack([values.sum((0, 2, 3)), (values**2).sum((0, 2, 3))])
        mean, square = (total / max(1, x[:, 0].numel())).float()
        std = (square - mean**2).clamp(min=MIN_STD**2).sqrt()
        return cls(mean[:, None, None], std[:, None, None])

    def standardize(self, x: Tensor) -> Tensor:
        """Return images `[n, c, h, w]` uint8 as float32 of about mean 0 and deviation 1."""
        return (x.to(torch.float32) / 255 - self.mean.to(x.device)) / self.std.to(x.device)

    def standardize_batch(self, batch: Batch, _generator: torch.Generator) -> Batch:
        """Return a batch of 8-bit images with standardized ones: an augmentation of the trainer."""
        return replace(batch, x=self.standardize(batch.x))

    def to_pixels(self, z: Tensor) -> Tensor:
        """Return standardized images `[n, c, h, w]` as uint8, the nearest that there is."""
        pixels = z.detach() * self.std.to(z.device) + self.mean.to(z.device)
        return (255 * pixels).round().clamp(0, 255).to(torch.uint8)

    def clamp(self, z: Tensor) -> Tensor:
        """Return standardized images `[n, c, h, w]`, none darker than black or above white."""
        mean, std = self.mean.to(z.device), self.std.to(z.device)
        return torch.maximum(torch.minimum(z, (1 - mean) / std), -mean / std)
