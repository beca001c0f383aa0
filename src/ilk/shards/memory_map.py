"""A copy of all features as one array on disk, which the system pages in as it is read."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.atomic_write import replace_atomically
from ilk.shards.manifest import Manifest
from ilk.shards.parts import read_features
from ilk.shards.spaces import ShardSpace


def map_features(manifest: Manifest, space: ShardSpace) -> NDArray[Any]:
    """Return the features of all rows, `[n, d]` as stored, mapped from a file beside the parts.

    The name of the file holds the digest of what it is a copy of, so that a grown folder gets
    another; older ones are deleted.

    Raises:
        ArtifactError: A part is damaged.
        OutputError: There is no room.
    """
    sources = "".join(shard.source for shard in manifest.shards)
    text = f"{space.key} {space.dtype} {space.d} {manifest.n_rows} {sources}"
    stamps = "".join(_stamp(space.part_path(i)) for i in range(manifest.n_shards))
    name = hashlib.sha256((text + stamps).encode()).hexdigest()[:16]
    path = space.home / f"features-{name}.npy"
    if not path.exists():
        replace_atomically(path, lambda temporary: _copy(temporary, manifest, space))
        for old in space.home.glob("features-*.npy"):
            if old != path:
                with suppress(OSError):
                    old.unlink()
    array: NDArray[Any] = np.load(path, mmap_mode="r")
    return array


def _stamp(path: Path) -> str:
    """Return what changes when a part is written again, such as with `--retry`."""
    stat = path.stat()
    return f" {stat.st_size} {stat.st_mtime_ns}"


def _copy(path: Path, manifest: Manifest, space: ShardSpace) -> None:
    with path.open("wb") as file:
        header = {
            "descr": np.dtype(space.dtype).newbyteorder("<").str,
            "fortran_order": False,
            "shape": (manifest.n_rows, space.d),
        }
        np.lib.format.write_array_header_1_0(file, header)
        for i in range(manifest.n_shards):
            file.write(np.ascontiguousarray(read_features(space, i)).data)
