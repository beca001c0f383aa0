"""Rows by id in segments: each is written once, mapped into memory, and never changes.

A segment is a pair of arrays of equal length, ids `[n]` and rows `[n, ...]`; deleted rows are
left out of answers and disappear when the index is built again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.errors import ArtifactError
from ilk.maths.top_k import Ids
from ilk.retrieval.vectors.contract import Writers

MIN_SEGMENT_ROWS = 65_536  # added rows are joined to a segment in memory up to this size


@dataclass(eq=False)
class Segment:
    """Rows that were added together.

    Attributes:
        ids: `[n]` int64, ascending.
        rows: `[n, ...]`.
        alive: Which rows are not deleted, `[n]`.
        is_saved: Whether its files are written, so that it must not change any more.
    """

    ids: Ids
    rows: NDArray[Any]
    alive: NDArray[np.bool_]
    is_saved: bool = False

    @property
    def name(self) -> str:
        """Its name in an index: that of its first and last id, which never return."""
        return f"{self.ids[0]}-{self.ids[-1]}" if len(self.ids) else "empty"


class Segments:
    """All rows of an index, in the order of their ids."""

    def __init__(self, prefix: str) -> None:
        """Start without rows; the names of files begin with `prefix`."""
        self.prefix = prefix
        self.parts: list[Segment] = []

    def __len__(self) -> int:
        return int(sum(part.alive.sum() for part in self.parts))

    def add(self, ids: Ids, rows: NDArray[Any]) -> None:
        """Add rows `[m, ...]` under ascending ids `[m]`."""
        if not len(ids):
            return
        alive = np.ones(len(ids), np.bool_)
        last = self.parts[-1] if self.parts else None
        if last is not None and not last.is_saved and len(last.ids) < MIN_SEGMENT_ROWS:
            last.ids = np.concatenate([last.ids, ids])
            last.rows = np.concatenate([last.rows, rows])
            last.alive = np.concatenate([last.alive, alive])
            return
        self.parts.append(Segment(np.array(ids, np.int64), np.array(rows), alive))

    def delete(self, ids: Ids) -> None:
        """Delete the rows of ids `[m]`; unknown ones are ignored."""
        for part in self.parts:
            part.alive &= ~np.isin(part.ids, ids)

    def take(self, ids: Ids) -> NDArray[Any]:
        """Return the rows of ids `[m]`, which must be there, `[m, ...]`, in their order."""
        out = np.empty((len(ids), *self.parts[0].rows.shape[1:]), self.parts[0].rows.dtype)
        for part in self.parts:
            place = np.searchsorted(part.ids, ids)
            place = np.minimum(place, len(part.ids) - 1)
            is_here = part.ids[place] == ids
            out[is_here] = part.rows[place[is_here]]
        return out

    def count_bytes(self) -> int:
        """Return the bytes of all arrays."""
        return sum(p.ids.nbytes + p.rows.nbytes + p.alive.nbytes for p in self.parts)

    def list_files(self) -> Writers:
        """Return what writes the two files of each segment, by name; the segments are closed."""
        files: dict[str, Any] = {}
        for part in self.parts:
            part.is_saved = True
            files[f"{self.prefix}-{part.name}.ids.npy"] = partial(_write, part.ids)
            files[f"{self.prefix}-{part.name}.npy"] = partial(_write, part.rows)
        return files

    @classmethod
    def open(cls, folder: Path, prefix: str, shape: tuple[int, ...], deleted: Ids) -> Segments:
        """Return the segments that lie in a folder, mapped into memory.

        Args:
            folder: The folder.
            prefix: Beginning of the names.
            shape: Shape of a row.
            deleted: Ids of deleted rows, `[m]`.

        Raises:
            ArtifactError: A file is cut off, of another shape, or misses its partner.
        """
        segments = cls(prefix)
        for path in folder.glob(f"{prefix}-*.ids.npy"):
            rows_path = path.with_name(path.name.replace(".ids.npy", ".npy"))
            ids, rows = read_array(path), read_array(rows_path)
            if ids.shape != rows.shape[:1] or rows.shape[1:] != shape:
                raise ArtifactError(
                    f"{rows_path} has the shape {rows.shape} and does not fit the index; build "
                    "the index again"
                )
            ids = np.array(ids)
            alive = ~np.isin(ids, deleted)
            segments.parts.append(Segment(ids, rows, alive, is_saved=True))
        segments.parts.sort(key=lambda part: int(part.ids[0]) if len(part.ids) else -1)
        return segments


def _write(array: NDArray[Any], path: Path) -> None:
    with path.open("wb") as file:
        np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)


def read_array(path: Path) -> NDArray[Any]:
    """Return the array `[n, ...]` of a `.npy` file, mapped into memory.

    Raises:
        ArtifactError: The file is missing, cut off, or no such file.
    """
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        why = " ".join(str(error).split())[:120]
        raise ArtifactError(
            f"{path} cannot be read, it may be cut off ({why}); build the index again"
        ) from None
