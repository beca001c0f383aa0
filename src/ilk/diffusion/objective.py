"""The objective of pretraining: take noise away, told the class or not.

The loss is the plain weighted denoising error (Karras et al. 2022, arXiv 2206.00364, eq. 2 and
table 1), and nothing else: no term of it tells classes apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ilk.diffusion.contract import column
from ilk.diffusion.denoiser import Denoiser
from ilk.diffusion.noise import LogNormal
from ilk.errors import InputError
from ilk.training.loop import Batch


@dataclass(frozen=True)
class Denoising:
    """The objective: `mean weight(sigma) |D(x + sigma n; sigma, c) - x|^2`.

    Attributes:
        denoiser: Whose preconditioning and classes count.
        noise: Where sigma comes from.
        drop: Share of labels that are hidden, so that the network also learns to do without.
    """

    denoiser: Denoiser
    noise: LogNormal
    drop: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.drop <= 1:
            raise InputError(f"a share of {self.drop} labels cannot be hidden; give 0 to 1")

    def __call__(self, network: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        n, device = len(batch), generator.device
        sigma = self.noise.draw(n, generator)
        hidden = torch.rand(n, generator=generator, device=device) < self.drop
        k = len(self.denoiser.classes)
        told = torch.where(hidden | (batch.y < 0), k, batch.y)
        x = batch.x.float()
        noise = torch.randn(x.shape, generator=generator, device=device)
        made = network(x + column(sigma, x) * noise, sigma, told)
        miss = (made.float() - x).square().flatten(1).mean(1)
        loss: Tensor = (self.denoiser.weight(sigma) * miss).mean()
        return loss


def unit(batch: Batch, _generator: torch.Generator) -> Batch:
    """8-bit pixels in [-1, 1]."""
    return Batch(batch.x.float() / 127.5 - 1, batch.y)


def flip(batch: Batch, generator: torch.Generator) -> Batch:
    """Half of the images mirrored, left to right. Not for what has a handedness, such as digits."""
    chosen = torch.rand(len(batch), generator=generator, device=generator.device) < 0.5
    return Batch(torch.where(chosen.view(-1, 1, 1, 1), batch.x.flip(3), batch.x), batch.y)


@dataclass(frozen=True)
class Shift:
    """Each image moved by up to `most` pixels each way; what comes in repeats the border."""

    most: int = 1

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        n, _, h, w = batch.x.shape
        moves = torch.randint(
            -self.most, self.most + 1, (2, n, 1), generator=generator, device=generator.device
        )
        down = (torch.arange(h, device=moves.device) + moves[0]).clamp(0, h - 1)
        right = (torch.arange(w, device=moves.device) + moves[1]).clamp(0, w - 1)
        rows = torch.arange(n, device=moves.device)[:, None, None]
        moved = batch.x.movedim(1, 3)[rows, down[:, :, None], right[:, None, :]]
        return Batch(moved.movedim(3, 1).contiguous(), batch.y)


def spread_of(x: Tensor) -> float:
    """Standard deviation of 8-bit images `[n, c, h, w]` on the scale [-1, 1].

    Raises:
        InputError: They are all of one colour.
    """
    counts = torch.bincount(x.flatten().long(), minlength=256).double()
    values = torch.arange(256).double() / 127.5 - 1
    mean = (counts * values).sum() / counts.sum()
    spread = float(((counts * (values - mean) ** 2).sum() / counts.sum()).sqrt())
    if counts.count_nonzero() < 2:
        raise InputError("every pixel of every image has the same value: there is nothing to learn")
    return spread
