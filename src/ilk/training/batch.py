"""A batch: rows of images or features with what is known about each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Batch:
    """Images or features, their labels, and their positions in the training set.

    A whole training set held in memory is a `Batch` too: it is one of the sources in
    `ilk.training.sources`.

    Attributes:
        x: Images `[n, c, h, w]` or features `[n, d]`; with several views per image `[n, v, ...]`.
        y: Class indices, `[n]` int64, -1 where unknown.
        indices: Position of each row in the training set, `[n]` int64, for objectives that keep
            state per row; None for the training set itself.
        weight: Weight of each row in the loss, `[n]` float32; None counts every row once.
    """

    x: Tensor
    y: Tensor
    indices: Tensor | None = None
    weight: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one row, such as `(c, h, w)`."""
        return tuple(self.x.shape[1:])

    def select(self, positions: Tensor) -> Batch:
        """Return the images and labels at `positions [m]` as a training set of their own."""
        return Batch(self.x[positions], self.y[positions])

    def iterate(self, size: int = 4096) -> Iterator[Tensor]:
        """Yield all of `x [n, ...]` in order, up to `size` rows at a time."""
        yield from torch.split(self.x, size)

    def take(self, rows: Tensor, device: str) -> Batch:
        """Return the rows at positions `rows [m]`, on `device`."""
        indices = rows if self.indices is None else self.indices[rows.to(self.indices.device)]
        weight = None if self.weight is None else self.weight[rows.to(self.weight.device)]
        x, y = self.x[rows.to(self.x.device)], self.y[rows.to(self.y.device)]
        return Batch(x, y, indices, weight).to(device)

    def to(self, device: str) -> Batch:
        """Return the batch on `device`."""

        def move(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device, non_blocking=True)

        return replace(
            self,
            x=self.x.to(device, non_blocking=True),
            y=self.y.to(device, non_blocking=True),
            indices=move(self.indices),
            weight=move(self.weight),
        )

    def to_channels_last(self) -> Batch:
        """Return the batch with the channels of images `[n, c, h, w]` last in memory."""
        if self.x.dim() != 4:
            return self
        return replace(self, x=self.x.contiguous(memory_format=torch.channels_last))

    def stack_views(self, views: list[Tensor]) -> Batch:
        """Return the batch with several views of each row on a view axis.

        Args:
            views: v tensors of the same shape `[n, ...]`.
        """
        return replace(self, x=torch.stack(views, 1))

    def flatten_views(self) -> Batch:
        """Return `[n, v, ...]` as `[n * v, ...]`, the views of a row next to each other."""
        n_views = self.x.shape[1]

        def repeat(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.repeat_interleave(n_views)

        return Batch(
            self.x.flatten(0, 1),
            self.y.repeat_interleave(n_views),
            repeat(self.indices),
            repeat(self.weight),
        )
