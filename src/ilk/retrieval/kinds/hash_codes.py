"""Rows as 16 to 256 bits: all codes are compared, and the best candidates by their rows.

The bits are the signs of the rows on rotated principal axes (`ilk.maths.iterative_quantization`).
Without rows, an image costs `bits / 8` bytes and the similarity is that which the fraction of
different bits stands for, `cos(pi differing / bits)` (Moses S. Charikar, 2002, Similarity
Estimation Techniques from Rounding Algorithms, doi:10.1145/509907.509965, for random hyperplanes).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from ilk.core.data import Features
from ilk.core.errors import ArtifactError, InputError
from ilk.maths.iterative_quantization import (
    Codes,
    count_differing,
    encode_signs,
    fit_rotation,
)
from ilk.maths.top_k import NO_ID, Ids, Similarities
from ilk.retrieval.vectors.contract import IndexTags, Writers
from ilk.retrieval.vectors.segments import Segments, read_array

CODES, ROWS, ROTATION = "codes", "rows", "rotation.npy"
BITS = (16, 256)


@dataclass(frozen=True)
class HashCodes(IndexTags):
    """Binary codes.

    Attributes:
        bits: Length of a code, 16 to 256.
        rerank: Candidates per wanted row that are compared exactly, in float16; 0 keeps no rows,
            which makes the index smallest, and its similarities estimates.
    """

    is_exact: ClassVar[bool] = False
    needs_sample: ClassVar[bool] = True
    remedy: ClassVar[str] = "more bits and a larger rerank find more"

    bits: int = 128
    rerank: int = 50

    def check(self) -> None:
        """Raise ValueError for wrong settings."""
        if not BITS[0] <= self.bits <= BITS[1]:
            raise ValueError(f"bits is {self.bits}; allowed are {BITS[0]} to {BITS[1]}")
        if self.rerank < 0:
            raise ValueError(f"rerank is {self.rerank}; allowed are 0 and more")

    def start(self, dim: int, sample: Features) -> CodedRows:
        """Return an index without rows, whose rotation is learned from unit rows `[m, dim]`."""
        mean, axes = fit_rotation(sample, self.bits)
        rotation = np.vstack([mean, axes.T])
        rows = Segments(ROWS) if self.rerank else None
        return CodedRows(Segments(CODES), rows, rotation, self.bits, self.rerank)

    def open(self, folder: Path, dim: int, deleted: Ids) -> CodedRows:
        """Return the index in a folder, without ids `deleted`, `[m]`.

        Raises:
            ArtifactError: A file is cut off or does not fit the others.
        """
        rotation = np.array(read_array(folder / ROTATION))
        words = -(-self.bits // 64)
        if rotation.shape != (self.bits + 1, dim):
            raise ArtifactError(
                f"{folder / ROTATION} has a different shape than the index says; build the index "
                "again"
            )
        codes = Segments.open(folder, CODES, (words,), deleted)
        rows = Segments.open(folder, ROWS, (dim,), deleted) if self.rerank else None
        return CodedRows(codes, rows, rotation, self.bits, self.rerank)


@dataclass(eq=False)
class CodedRows:
    """Codes in segments, and rows beside them for re-ranking.

    Attributes:
        codes: Words `[n, bits / 64]` by id.
        rows: Unit rows `[n, d]` float16 by id; None without re-ranking.
        rotation: The mean of the rows, followed by the axis of each bit, `[1 + bits, d]`.
        bits: Length of a code.
        rerank: Candidates per wanted row.
    """

    codes: Segments
    rows: Segments | None
    rotation: Features
    bits: int
    rerank: int

    def __len__(self) -> int:
        return len(self.codes)

    def encode(self, x: Features) -> Codes:
        """Return the codes `[m, words]` of unit rows `[m, d]`."""
        return encode_signs(x, self.rotation[0], self.rotation[1:].T)

    def add(self, ids: Ids, x: Features) -> None:
        """Add unit rows `[m, d]` under ids `[m]`."""
        self.codes.add(ids, self.encode(x))
        if self.rows is not None:
            self.rows.add(ids, np.asarray(x, np.float16))

    def delete(self, ids: Ids) -> None:
        """Delete the rows of ids `[m]`."""
        self.codes.delete(ids)
        if self.rows is not None:
            self.rows.delete(ids)

    def search(self, queries: Features, k: int) -> tuple[Ids, Similarities]:
        """Return ids and similarity, `[m, k]` each, of rows near unit rows `[m, d]`."""
        out = np.full((len(queries), k), NO_ID, np.int64)
        similarity = np.full((len(queries), k), -np.inf, np.float32)
        wanted = min(len(self), k * self.rerank if self.rows is not None else k)
        if not wanted:
            return out, similarity
        for i, code in enumerate(self.encode(queries)):
            ids, differing = self._find_candidates(code, wanted)
            if self.rows is not None:
                values = self.rows.take(ids).astype(np.float32) @ queries[i]
            else:
                values = np.cos(np.pi * differing / self.bits).astype(np.float32)
            order = np.lexsort((ids, -values))[:k]
            out[i, : len(order)], similarity[i, : len(order)] = ids[order], values[order]
        return out, similarity

    def _find_candidates(self, code: Codes, wanted: int) -> tuple[Ids, Ids]:
        """Return the ids and distances of the `wanted` nearest codes."""
        ids, distances = [], []
        for part in self.codes.parts:
            differing = count_differing(code, part.rows)
            if not part.alive.all():
                differing[~part.alive] = self.bits + 1
            limit = np.searchsorted(np.cumsum(np.bincount(differing)), wanted)
            near = np.flatnonzero(differing <= min(int(limit), self.bits))
            ids.append(part.ids[near])
            distances.append(differing[near].astype(np.int64))
        found, distance = np.concatenate(ids), np.concatenate(distances)
        order = np.argsort(distance, kind="stable")[:wanted]
        return found[order], distance[order]

    def take(self, ids: Ids) -> Features:
        """Return the unit rows of ids `[m]`, `[m, d]`.

        Raises:
            InputError: There are only codes.
        """
        if self.rows is None:
            raise InputError(
                "this index keeps only codes, and this query needs rows; build it with "
                "HashCodes(rerank=50), or another kind"
            )
        return np.asarray(self.rows.take(ids), np.float32)

    def count_bytes(self) -> int:
        """Return the bytes of codes, rows and ids."""
        rows = self.rows.count_bytes() if self.rows is not None else 0
        return self.codes.count_bytes() + rows + self.rotation.nbytes

    def list_files(self) -> Writers:
        """Return what writes each file."""
        rows = self.rows.list_files() if self.rows is not None else {}
        return {**self.codes.list_files(), **rows, ROTATION: self._write_rotation}

    def _write_rotation(self, path: Path) -> None:
        with path.open("wb") as file:
            np.lib.format.write_array(file, self.rotation, allow_pickle=False)
