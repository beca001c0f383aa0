"""The features of a shard folder: read by blocks, by position, or mapped into memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Features, Labels
from ilk.core.errors import ArtifactError
from ilk.images.rows import escape_path
from ilk.shards.arrays import write_arrays
from ilk.shards.manifest import SHARD_SIZE, Manifest, join_path
from ilk.shards.memory_map import map_features
from ilk.shards.parquet_files import from_text
from ilk.shards.parts import check_part, read_features, read_outcomes
from ilk.shards.refusals import find_order, find_refused
from ilk.shards.spaces import ShardSpace, choose_space

BLOCK = 8192


@dataclass(frozen=True, eq=False)
class ShardedFeatures:
    """All rows of a shard folder with the features of one encoder.

    Rows are numbered by their position in the manifest. Features are read when asked for; memory
    grows with the number of rows by what is known of each besides its features.

    Attributes:
        manifest: The manifest.
        space: The encoder.
    """

    manifest: Manifest
    space: ShardSpace

    @classmethod
    def open(cls, folder: str | os.PathLike[str], space: str | None = None) -> ShardedFeatures:
        """Open a shard folder whose parts are all done.

        Args:
            folder: The shard folder.
            space: Name of the encoder, key of its space or name of the folder of its features;
                None where there is only one.

        Raises:
            InputError: It is not a shard folder, or has no features of this encoder.
            ArtifactError: A part is missing, damaged, or of other images or weights.
        """
        manifest = Manifest.read(folder)
        chosen = choose_space(manifest.folder, space)
        for i in range(manifest.n_shards):
            state, part = check_part(manifest, chosen, i)
            if part is None:
                raise ArtifactError(
                    f"{escape_path(chosen.part_path(i))} is {state}; run: ilk encode "
                    f"{escape_path(folder)} --encoder {chosen.name}, which encodes what is missing"
                )
        return cls(manifest, chosen)

    @property
    def n(self) -> int:
        """Number of rows, those without features included."""
        return self.manifest.n_rows

    @property
    def d(self) -> int:
        """Number of features."""
        return self.space.d

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes with at least one used row, sorted."""
        label = self._read("label")
        return tuple(sorted({str(t) for t in label[self.is_used] if t is not None}))

    @cached_property
    def y(self) -> Labels:
        """Class of each row, `[n]` int64, -1 where unknown."""
        ids = {name: i for i, name in enumerate(self.classes)}
        return np.array([ids.get(label, -1) for label in self._read("label")], np.int64)

    @property
    def split(self) -> NDArray[np.object_]:
        """Split of each row, `[n]`: "train", "val" or "test"."""
        return self._read("split")

    @property
    def group(self) -> NDArray[np.object_]:
        """Name of the group of each row, `[n]`, None where it is on its own."""
        return self._read("group")

    @property
    def paths(self) -> list[str]:
        """Path or address of each row."""
        return [join_path(self.manifest.base, path) for path in self._read("path", raw=True)]

    @property
    def digests(self) -> NDArray[np.object_]:
        """Digest of the content of each row, `[n]`; "" where it was not read."""
        return self._read("digest")

    @cached_property
    def reasons(self) -> NDArray[np.object_]:
        """Why each row is not used, `[n]`: one of `ilk.images.REASONS`, None if it is used."""
        return find_refused(self.manifest, self.space)

    @cached_property
    def order(self) -> Labels:
        """Positions of all rows, `[n]`, in the order in which the source lists them.

        It differs from that of the manifest where late images of a folder got new shards.
        """
        return find_order(self.manifest)

    @cached_property
    def is_used(self) -> NDArray[np.bool_]:
        """Whether each row is used, `[n]`, as `ilk fit` on the images decides it."""
        return np.array([reason is None for reason in self.reasons], bool)

    @cached_property
    def has_features(self) -> NDArray[np.bool_]:
        """Whether each row has features, `[n]`; the second of two equal files has, unused."""
        missing: list[bool] = []
        for i in range(self.manifest.n_shards):
            missing += [r is not None for r in read_outcomes(self.space, i, ["reason"])["reason"]]
        return ~np.array(missing, bool)

    def iterate(
        self, block: int = BLOCK, *, only_used: bool = True
    ) -> Iterator[tuple[Labels, Features]]:
        """Yield positions `[b]`, ascending, and features `[b, d]` float32, at most `block` rows.

        Args:
            block: Rows per block; the last block of a shard may have fewer.
            only_used: Leave out rows that have features and are not used, such as duplicates.

        Raises:
            ArtifactError: A part is damaged.
        """
        keep = self.is_used if only_used else self.has_features
        for i, shard in enumerate(self.manifest.shards):
            x = read_features(self.space, i)
            for start in range(0, shard.n, block):
                rows = np.arange(start, min(start + block, shard.n))
                kept = keep[shard.start + rows]
                values = x[start : start + block] if kept.all() else x[rows[kept]]
                if len(values):
                    yield shard.start + rows[kept], np.asarray(values, np.float32)

    def take(self, positions: NDArray[np.integer[Any]] | Sequence[int]) -> Features:
        """Return the features of rows at `positions [m]`, `[m, d]` float32, in that order.

        Raises:
            ValueError: A row has no features.
            ArtifactError: A part is damaged.
        """
        wanted = np.asarray(positions, np.int64)
        if len(wanted) and not self.has_features[wanted].all():
            bad = int(wanted[~self.has_features[wanted]][0])
            raise ValueError(f"row {bad} has no features ({self.reasons[bad]})")
        starts = np.array([shard.start for shard in self.manifest.shards])
        of_shard = np.searchsorted(starts, wanted, "right") - 1
        out = np.empty((len(wanted), self.d), np.float32)
        for i in np.unique(of_shard):
            here = np.flatnonzero(of_shard == i)
            out[here] = read_features(self.space, int(i))[wanted[here] - starts[i]]
        return out

    def memory_map(self) -> NDArray[np.floating[Any]]:
        """Return all features as a read-only array `[n, d]` that lies on disk, as stored.

        The copy is made beside the parts once; rows without features are 0.

        Raises:
            OutputError: There is no room for the copy.
        """
        return map_features(self.manifest, self.space)

    def _read(self, name: str, raw: bool = False) -> NDArray[np.object_]:
        column = self.manifest.read_all([name]).column(0)
        values = np.array(column.to_pylist(), object)
        if not raw and name != "digest":
            for i in [i for i, value in enumerate(values) if value and "\0" in value]:
                values[i] = from_text(values[i])
        return values


def write_features(
    folder: str | os.PathLike[str],
    x: NDArray[Any] | Iterable[NDArray[Any]],
    labels: Sequence[str | None],
    *,
    splits: Sequence[str] | None = None,
    groups: Sequence[str | None] | None = None,
    paths: Sequence[str] | None = None,
    shard_size: int = SHARD_SIZE,
    dtype: str = "float32",
    name: str = "array",
    key: str | None = None,
) -> ShardedFeatures:
    """Make a shard folder of features that are there already, such as those of another program.

    Args:
        folder: The shard folder, created if missing; it must not have a manifest.
        x: Features `[n, d]`, or blocks `[b, d]` of them in order, which need not fit in memory.
        labels: Class of each row, `[n]`, None where unknown.
        splits: "train", "val" or "test" of each row; all "train" by default.
        groups: Name of the group of each row, None where it is on its own.
        paths: Unique path or name of each row; `row 0`, `row 1`, … by default.
        shard_size: Rows per shard.
        dtype: How features are stored: float32 or float16.
        name: Name of the encoder.
        key: Key of its space; derived from the name by default.

    Raises:
        InputError: A path is there twice, lengths differ, a feature is not finite, or the folder
            has a manifest.
        OutputError: The folder cannot be written.
    """
    manifest, space = write_arrays(
        Path(folder), x, labels, splits, groups, paths, shard_size, dtype, name, key
    )
    return ShardedFeatures(manifest, space)
