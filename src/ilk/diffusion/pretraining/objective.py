"""The objective of pretraining: denoising, with and without the class.

The loss is the weighted denoising error (Karras et al. 2022, arXiv 2206.00364, eq. 2 and table 1);
it has no classification term.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ilk.core.errors import InputError
from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.denoiser.noise_levels import LogNormal
from ilk.diffusion.denoiser.protocol import expand_like
from ilk.training.trainer import Batch


@dataclass(frozen=True)
class DenoisingLoss:
    """The loss `mean weight(sigma) |D(x + sigma n; sigma, c) - x|^2`.

    Attributes:
        denoiser: Defines the loss weight and the classes.
        noise: Distribution of sigma.
        label_dropout: Proportion of labels replaced by the null class, so that the network also
            learns the unconditional distribution.

    Raises:
        InputError: `label_dropout` is outside [0, 1].
    """

    denoiser: Denoiser
    noise: LogNormal
    label_dropout: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.label_dropout <= 1:
            raise InputError(f"label dropout {self.label_dropout} is out of range; give 0 to 1")

    def __call__(self, network: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        n, device = len(batch), generator.device
        sigma = self.noise.draw(n, generator)
        hidden = torch.rand(n, generator=generator, device=device) < self.label_dropout
        k = len(self.denoiser.classes)
        labels = torch.where(hidden | (batch.y < 0), k, batch.y)
        x = batch.x.float()
        noise = torch.randn(x.shape, generator=generator, device=device)
        denoised = network(x + expand_like(sigma, x) * noise, sigma, labels)
        errors = (denoised.float() - x).square().flatten(1).mean(1)
        loss: Tensor = (self.denoiser.compute_loss_weight(sigma) * errors).mean()
        return loss


def normalize_batch(batch: Batch, _generator: torch.Generator) -> Batch:
    """Scale 8-bit pixels to [-1, 1]."""
    return Batch(batch.x.float() / 127.5 - 1, batch.y)


def flip(batch: Batch, generator: torch.Generator) -> Batch:
    """Mirror a random half of the images horizontally."""
    flipped = torch.rand(len(batch), generator=generator, device=generator.device) < 0.5
    return Batch(torch.where(flipped.view(-1, 1, 1, 1), batch.x.flip(3), batch.x), batch.y)


@dataclass(frozen=True)
class Shift:
    """Translate each image by up to `max_pixels` in both directions, repeating the border."""

    max_pixels: int = 1

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        n, _, h, w = batch.x.shape
        moves = torch.randint(
            -self.max_pixels,
            self.max_pixels + 1,
            (2, n, 1),
            generator=generator,
            device=generator.device,
        )
        down = (torch.arange(h, device=moves.device) + moves[0]).clamp(0, h - 1)
        right = (torch.arange(w, device=moves.device) + moves[1]).clamp(0, w - 1)
        rows = torch.arange(n, device=moves.device)[:, None, None]
        moved = batch.x.movedim(1, 3)[rows, down[:, :, None], right[:, None, :]]
        return Batch(moved.movedim(3, 1).contiguous(), batch.y)


def compute_pixel_std(blocks: Iterable[Tensor]) -> float:
    """Return the standard deviation of 8-bit images on the scale [-1, 1].

    Args:
        blocks: The images, some at a time: tensors `[b, c, h, w]` uint8.

    Raises:
        InputError: All pixels have the same value.
    """
    counts = torch.zeros(256, dtype=torch.float64)
    for x in blocks:
        counts += torch.bincount(x.flatten().long(), minlength=256)
    values = torch.arange(256).double() / 127.5 - 1
    mean = (counts * values).sum() / counts.sum()
    std = float(((counts * (values - mean) ** 2).sum() / counts.sum()).sqrt())
    if counts.count_nonzero() < 2:
        raise InputError(
            "every pixel of every image has the same value, so there is nothing to learn"
        )
    return std
