"""A training set of 8-bit images that lies on disk, as pixels that were encoded into shards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ilk.training.batch import Batch


class StoredImages(Batch):
    """Images of a memory-mapped array, read when a batch needs them.

    It is a `Batch` whose `x` is not in memory: asking for it loads all images at once.

    Args:
        values: Pixels of all images in [0, 1], `[n_all, c * h * w]`, memory-mapped.
        rows: Positions of the images in it, `[n]` int64.
        y: Class indices, `[n]` int64, -1 where unknown.
        shape: `(c, h, w)`.
    """

    def __init__(
        self,
        values: NDArray[Any],
        rows: NDArray[np.int64],
        y: Tensor,
        shape: tuple[int, int, int],
    ) -> None:
        for name, value in (("values", values), ("rows", rows), ("y", y), ("shape", shape)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "indices", None)
        object.__setattr__(self, "weight", None)

    values: NDArray[Any]
    rows: NDArray[np.int64]
    shape: tuple[int, int, int]

    @property
    def x(self) -> Tensor:
        """All images in memory, `[n, c, h, w]` uint8."""
        return self._read(self.rows)

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one image, `(c, h, w)`."""
        return self.shape

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, positions: Tensor) -> StoredImages:
        """Return the images and labels at `positions [m]`; nothing is read."""
        return StoredImages(
            self.values, self.rows[positions.numpy()], self.y[positions], self.shape
        )

    def iterate(self, size: int = 4096) -> Iterator[Tensor]:
        """Yield all images in order, up to `size` at a time, `[b, c, h, w]` uint8."""
        for start in range(0, len(self), size):
            yield self._read(self.rows[start : start + size])

    def take(self, rows: Tensor, device: str) -> Batch:
        """Return the images at positions `rows [m]`, read in file order, on `device`."""
        order = torch.argsort(rows)
        x = self._read(self.rows[rows[order].numpy()])[torch.argsort(order)]
        return Batch(x, self.y[rows], rows).to(device)

    def _read(self, rows: NDArray[np.int64]) -> Tensor:
        values = np.asarray(self.values[rows], np.float32)
        pixels = np.rint(values * np.float32(255)).astype(np.uint8)
        return torch.from_numpy(pixels).view(-1, *self.shape)
