"""Differentiable augmentation, the same for real and for synthetic images.

Bo Zhao, Hakan Bilen, 2021, Dataset Condensation with Differentiable Siamese Augmentation, arXiv
2102.08259, equation 4: both sides of a comparison get the same random transformation, so that what
is learned from synthetic images holds for augmented ones. Of its families: scale, rotation, shift
and flip.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from ilk.training.batch import Batch


@dataclass(frozen=True)
class SiameseAugmentation:
    """Random affine maps; `augmentation(batch, generator)` draws one for each row.

    Attributes:
        scale: Greatest relative change of each side.
        degrees: Greatest rotation to either side.
        shift: Greatest shift as a part of each side.
        flip: Mirror half of the images left to right.
    """

    scale: float = 0.15
    degrees: float = 10.0
    shift: float = 0.1
    flip: bool = False

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """Return n maps from places in the result to places in the image, `[n, 2, 3]`."""
        device = generator.device
        u = 2 * torch.rand(5, n, generator=generator, device=device) - 1
        angle = u[0] * math.radians(self.degrees)
        sx, sy = 1 + self.scale * u[1], 1 + self.scale * u[2]
        if self.flip:
            sx = sx * torch.where(torch.rand(n, generator=generator, device=device) < 0.5, -1, 1)
        theta = torch.empty(n, 2, 3, device=device)
        theta[:, 0, 0], theta[:, 0, 1] = sx * angle.cos(), -angle.sin()
        theta[:, 1, 0], theta[:, 1, 1] = angle.sin(), sy * angle.cos()
        theta[:, :, 2] = 2 * self.shift * u[3:].T
        return theta

    def apply(self, x: Tensor, theta: Tensor) -> Tensor:
        """Return images `x [n, c, h, w]` under maps `theta [n, 2, 3]` or `[1, 2, 3]`."""
        grid = functional.affine_grid(theta.expand(len(x), 2, 3), [*x.shape], align_corners=False)
        return functional.grid_sample(x, grid, padding_mode="border", align_corners=False)

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Return the batch of standardized images, each under a map of its own."""
        return replace(batch, x=self.apply(batch.x, self.draw(len(batch.x), generator)))
