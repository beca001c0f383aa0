"""A shard folder made of features that are there already."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.errors import InputError
from ilk.core.space import FeatureSpace
from ilk.images.rows import Images, Row, escape_path
from ilk.shards.manifest import Manifest, is_shard_folder
from ilk.shards.parts import PartRows, write_part
from ilk.shards.row_columns import Columns, check_paths, list_columns
from ilk.shards.spaces import ShardSpace, open_named_space


def write_arrays(
    folder: Path,
    x: NDArray[Any] | Iterable[NDArray[Any]],
    labels: Sequence[str | None],
    splits: Sequence[str] | None,
    groups: Sequence[str | None] | None,
    paths: Sequence[str] | None,
    shard_size: int,
    dtype: str,
    name: str,
    key: str | None,
) -> tuple[Manifest, ShardSpace]:
    """Write manifest and parts of features `[n, d]`; see `ilk.shards.features.write_features`.

    Raises:
        InputError: The arguments do not fit together, or the folder has a manifest.
    """
    n = len(labels)
    for what, values in {"splits": splits, "groups": groups, "paths": paths}.items():
        if values is not None and len(values) != n:
            raise InputError(f"{len(values)} {what} for {n} labels; give one per row")
    if is_shard_folder(folder):
        raise InputError(f"{escape_path(folder)} has a manifest; choose another folder")
    if shard_size < 1:
        raise InputError(f"a shard holds at least 1 row, not {shard_size}")
    if paths is not None:
        check_paths(paths)
    key = key or hashlib.sha256(f"features of {name}".encode()).hexdigest()
    shards = []
    for start in range(0, n, shard_size):
        rows = range(start, min(start + shard_size, n))
        shards.append(_list_columns(rows, labels, splits, groups, paths, key))
    blocks = _cut(x, [len(columns["path"]) for columns in shards])
    first = next(blocks, np.empty((0, 1), np.float32))
    manifest = Manifest(folder, shard_size, (), "", None).write_columns(shards)
    space = open_named_space(folder, FeatureSpace(key, name, first.shape[1]), dtype, {})
    for i in range(manifest.n_shards):
        block = first if i == 0 else next(blocks)
        m = len(block)
        if not np.isfinite(block.astype(space.dtype)).all():
            raise InputError(f"the features of shard {i} are not all finite as {space.dtype}")
        digests = [str(digest) for digest in shards[i]["digest"]]
        none: list[Any] = [None] * m
        write_part(manifest, space, i, PartRows(digests, none, none, block, none, none, none))
    if len(next(blocks, ())):
        raise InputError(f"there are more features than the {n} labels; give one label per row")
    return manifest, space


def _list_columns(
    rows: range,
    labels: Sequence[str | None],
    splits: Sequence[str] | None,
    groups: Sequence[str | None] | None,
    paths: Sequence[str] | None,
    key: str,
) -> Columns:
    made = [
        Row(
            f"row {i}" if paths is None else paths[i],
            labels[i],
            "train" if splits is None else splits[i],
            digest=hashlib.sha256(f"{key} {i}".encode()).hexdigest(),
            group=None if groups is None else groups[i],
        )
        for i in rows
    ]
    return list_columns(Images(None, ()), made)


def _cut(x: NDArray[Any] | Iterable[NDArray[Any]], sizes: Sequence[int]) -> Iterator[NDArray[Any]]:
    """Yield as many rows at a time as `sizes` says, then what is left."""
    if isinstance(x, np.ndarray):
        start = 0
        for size in sizes:
            block = x[start : start + size]
            if len(block) < size:
                raise InputError(f"{len(x)} rows of features for {sum(sizes)} labels")
            yield block
            start += size
        yield x[start:]
        return
    blocks = iter(x)
    held: NDArray[Any] = np.empty((0, 1), np.float32)
    for size in sizes:
        parts = [held] if len(held) else []
        n_held = len(held)
        while n_held < size and (found := next(blocks, None)) is not None:
            parts.append(np.asarray(found))
            n_held += len(parts[-1])
        if n_held < size:
            raise InputError(f"too few rows of features for {sum(sizes)} labels")
        rows = np.concatenate(parts) if len(parts) > 1 else parts[0]
        yield rows[:size]
        held = rows[size:]
    yield held if len(held) else next(blocks, held)
