"""The base class of all heads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

Shape = tuple[int, int, int]


class Head(nn.Module):
    """`(*maps [n, c, h, w]) -> logits [n, k]`."""

    def compute_penalty(self) -> Tensor:
        """Return a scalar that is added to the loss of the last call; 0 for most heads."""
        return torch.zeros(())


class FlatHead(Head):
    """A head on flattened and concatenated maps, as the training loop provides them.

    Every channel is standardised by its mean and standard deviation over the training maps, because
    the scales of blocks differ by orders of magnitude.

    Args:
        head: Takes the maps.
        shapes: `(c, h, w)` of each map.
        flat: Training maps, `[n, sum c * h * w]`.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, head: Head, shapes: Sequence[Shape], flat: Tensor) -> None:
        super().__init__()
        self.head, self.shapes = head, tuple(shapes)
        parts = [self._compute_moments(part) for part in self.split(flat)]
        self.register_buffer("centre", torch.cat([centre for centre, _ in parts]))
        self.register_buffer("scale", torch.cat([scale for _, scale in parts]))

    @staticmethod
    def _compute_moments(part: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and inverse deviation per channel, repeated per position, `[c * h * w]`."""
        _, c, h, w = part.shape
        rows = part.double().transpose(0, 1).reshape(c, -1)
        deviation = rows.std(1, correction=0)
        changes = deviation > 1e-7 * rows.abs().amax(1).clamp_min(1e-30)
        scale = changes / torch.where(changes, deviation, 1.0)
        expanded = [v.float().repeat_interleave(h * w) for v in (rows.mean(1), scale)]
        return expanded[0], expanded[1]

    def split(self, flat: Tensor) -> list[Tensor]:
        """Split `flat` into maps `[n, c, h, w]`."""
        widths = [c * h * w for c, h, w in self.shapes]
        parts = torch.split(flat, widths, 1)
        return [p.reshape(len(flat), *s) for p, s in zip(parts, self.shapes, strict=True)]

    def forward(self, flat: Tensor) -> Tensor:
        logits: Tensor = self.head(*self.split((flat.float() - self.centre) * self.scale))
        return logits

    def compute_penalty(self) -> Tensor:
        """Return the penalty of the inner head, a scalar."""
        return self.head.compute_penalty()


def flatten_maps(maps: Sequence[Tensor]) -> Tensor:
    """Flatten and concatenate maps `[n, c, h, w]` to `[n, sum c * h * w]`."""
    return torch.cat([part.flatten(1) for part in maps], 1)
