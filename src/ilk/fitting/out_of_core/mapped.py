"""Features that are read several times: from a copy on disk that the system maps into memory."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Features, Labels
from ilk.core.errors import OutputError
from ilk.fitting.encoding import LogCallback
from ilk.fitting.out_of_core.streamed_rows import FeatureSource
from ilk.shards.features import ShardedFeatures

BLOCK = 8192
TAKEN = 256  # rows that are taken before their memory is given back


@dataclass(frozen=True, eq=False)
class MappedFeatures:
    """Features of a shard folder in one array on disk.

    Attributes:
        array: `[n, d]`, as stored.
        is_used: Whether each row is used, `[n]`.
    """

    array: NDArray[Any]
    is_used: NDArray[np.bool_]

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.array)

    @property
    def d(self) -> int:
        """Number of features."""
        return int(self.array.shape[1])

    def iterate(self) -> Iterator[tuple[Labels, Features]]:
        """Yield positions `[b]` and features `[b, d]` float32 of used rows, block by block."""
        for rows, x in self.iterate_stored():
            yield rows, np.asarray(x, np.float32)

    def iterate_stored(self) -> Iterator[tuple[Labels, NDArray[Any]]]:
        """Yield positions `[b]` and features `[b, d]` as stored, a view until the next block."""
        for start in range(0, self.n, BLOCK):
            rows = np.arange(start, min(start + BLOCK, self.n))
            used = self.is_used[rows]
            x = self.array[start : start + BLOCK]
            if used.all():
                yield rows, x
            elif used.any():
                yield rows[used], x[used]
            self._release()

    def take(self, positions: Labels) -> Features:
        """Return the features `[m, d]` float32 of rows at `positions [m]`."""
        x = np.empty((len(positions), self.d), np.float32)
        for start in range(0, len(positions), TAKEN):
            x[start : start + TAKEN] = self.array[positions[start : start + TAKEN]]
            self._release()  # the system maps much around each row
        return x

    def _release(self) -> None:
        """Let the system take back the memory of what was read; it stays in the disk's cache."""
        mapped = getattr(self.array, "_mmap", None)
        if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)


def map_features(features: ShardedFeatures, log: LogCallback) -> FeatureSource:
    """Return the features mapped from a copy beside the shards; as they are if it has no room."""
    try:
        return MappedFeatures(features.memory_map(), features.is_used)
    except OutputError as error:
        log(f"{error}; features are read from the shards again for every pass, which is slower")
        return features
