"""What every head is: maps in, logits out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

Shape = tuple[int, int, int]


class Head(nn.Module):
    """`(*maps [n, c, h, w]) -> logits [n, k]`."""

    def penalty(self) -> Tensor:
        """What is added to the loss of the last call; nothing, for most."""
        return torch.zeros(())


class Packed(Head):
    """A head on maps that lie flat, side by side, as the training loop hands them on.

    Every channel is standardised first, by what the training maps have at all places and images:
    blocks differ in scale by orders of magnitude, and no head should rank them by that.

    Args:
        head: Takes as many maps.
        shapes: `(c, h, w)` of each map.
        flat: Training maps, `[n, sum c * h * w]`.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, head: Head, shapes: Sequence[Shape], flat: Tensor) -> None:
        super().__init__()
        self.head, self.shapes = head, tuple(shapes)
        parts = [self._moments(part) for part in self.split(flat)]
        self.register_buffer("centre", torch.cat([centre for centre, _ in parts]))
        self.register_buffer("scale", torch.cat([scale for _, scale in parts]))

    @staticmethod
    def _moments(part: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and inverse deviation of each channel, for each of its places, `[c * h * w]`."""
        _, c, h, w = part.shape
        rows = part.double().transpose(0, 1).reshape(c, -1)
        deviation = rows.std(1, correction=0)
        changes = deviation > 1e-7 * rows.abs().amax(1).clamp_min(1e-30)
        scale = changes / torch.where(changes, deviation, 1.0)
        spread = [v.float().repeat_interleave(h * w) for v in (rows.mean(1), scale)]
        return spread[0], spread[1]

    def split(self, flat: Tensor) -> list[Tensor]:
        """The maps `[n, c, h, w]` that lie in `flat`."""
        widths = [c * h * w for c, h, w in self.shapes]
        parts = torch.split(flat, widths, 1)
        return [p.reshape(len(flat), *s) for p, s in zip(parts, self.shapes, strict=True)]

    def forward(self, flat: Tensor) -> Tensor:
        logits: Tensor = self.head(*self.split((flat.float() - self.centre) * self.scale))
        return logits

    def penalty(self) -> Tensor:
        return self.head.penalty()


def flat(maps: Sequence[Tensor]) -> Tensor:
    """Maps `[n, c, h, w]` side by side, `[n, sum c * h * w]`."""
    return torch.cat([part.flatten(1) for part in maps], 1)
