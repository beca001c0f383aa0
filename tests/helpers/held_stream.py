"""Rows in memory that are read block by block, as those of a shard folder are."""

from __future__ import annotations

import numpy as np

from ilk.fitting.out_of_core.streamed_rows import StreamedRows, stream_rows


class HeldSource:
    """Features in an array, with a small block and a count of passes."""

    def __init__(self, x, block=37):
        self.x, self.block, self.passes = x, block, 0

    @property
    def n(self):
        return len(self.x)

    @property
    def d(self):
        return self.x.shape[1]

    def iterate(self):
        self.passes += 1
        for start in range(0, len(self.x), self.block):
            rows = np.arange(start, min(start + self.block, len(self.x)))
            yield rows, self.x[rows].astype(np.float32)

    def take(self, positions):
        return self.x[positions].astype(np.float32)


def make_stream(data, n_parts=3, memory=2**30, block=37) -> StreamedRows:
    """Return labelled rows as a stream, dealt to `n_parts` parts, no group in two of them."""
    unit = np.where(data.group < 0, len(data) + np.arange(len(data)), data.group)
    part = np.unique(unit, return_inverse=True)[1] % n_parts
    source = HeldSource(data.x, block)
    return stream_rows(source, np.arange(len(data)), data.y, data.group, data.classes, part, memory)
