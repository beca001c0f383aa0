"""Every row is compared: one matrix product per block, and the best of all blocks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Features
from ilk.maths.top_k import Ids, Similarities, TopK
from ilk.retrieval.vectors.contract import IndexTags, Writers
from ilk.retrieval.vectors.segments import Segments

BLOCK = 8192  # rows per product
PREFIX = "rows"


@dataclass(frozen=True)
class Exact(IndexTags):
    """Rows as they are.

    Attributes:
        dtype: float32, or float16 for half the memory; float16 is converted block by block, which
            takes longer than the products, and changes similarities by less than 0.001.
    """

    is_exact: ClassVar[bool] = True

    dtype: Literal["float32", "float16"] = "float32"

    def check(self) -> None:
        """Raise ValueError for another type of number."""
        if self.dtype not in ("float32", "float16"):
            raise ValueError(f"dtype is {self.dtype!r}; allowed are 'float32' and 'float16'")

    def start(self, dim: int, sample: Features) -> ExactRows:
        """Return an index without rows; the sample `[m, dim]` is not used."""
        return ExactRows(Segments(PREFIX), self.dtype)

    def open(self, folder: Path, dim: int, deleted: Ids) -> ExactRows:
        """Return the index in a folder, without ids `deleted`, `[m]`."""
        return ExactRows(Segments.open(folder, PREFIX, (dim,), deleted), self.dtype)


@dataclass(eq=False)
class ExactRows:
    """Unit rows in segments."""

    segments: Segments
    dtype: str

    def __len__(self) -> int:
        return len(self.segments)

    def add(self, ids: Ids, x: Features) -> None:
        """Add unit rows `[m, d]` under ids `[m]`."""
        self.segments.add(ids, np.asarray(x, self.dtype))

    def delete(self, ids: Ids) -> None:
        """Delete the rows of ids `[m]`."""
        self.segments.delete(ids)

    def search(self, queries: Features, k: int) -> tuple[Ids, Similarities]:
        """Return ids and similarity, `[m, k]` each, of the rows nearest to unit rows `[m, d]`."""
        best = TopK(len(queries), k)
        for part in self.segments.parts:
            is_whole = bool(part.alive.all())
            for start in range(0, len(part.ids), BLOCK):
                block = slice(start, start + BLOCK)
                similarity = queries @ to_float32(part.rows[block]).T
                if not is_whole:
                    similarity[:, ~part.alive[block]] = -np.inf
                best.update(part.ids[block], similarity)
        return best.ids, best.similarity

    def take(self, ids: Ids) -> Features:
        """Return the unit rows of ids `[m]`, `[m, d]`."""
        return to_float32(self.segments.take(ids))

    def count_bytes(self) -> int:
        """Return the bytes of the rows and ids."""
        return self.segments.count_bytes()

    def list_files(self) -> Writers:
        """Return what writes each file."""
        return self.segments.list_files()


def to_float32(rows: NDArray[Any]) -> Features:
    """Return rows `[n, d]` as float32; torch converts float16 three times as fast as NumPy."""
    if rows.dtype == np.float32:
        return rows
    import torch

    return np.asarray(torch.from_numpy(np.array(rows)).float().numpy())
