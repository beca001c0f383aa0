"""A copy of all features as one array on disk, which the system pages in as it is read."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.atomic_write import replace_atomically
from ilk.core.digested_json import check_digest, parse_json, write_json
from ilk.core.errors import ArtifactError
from ilk.core.file_fingerprints import describe_file
from ilk.core.regular_file import check_regular_file, read_regular_file
from ilk.images.rows import escape_path
from ilk.shards.manifest import Manifest
from ilk.shards.parts import read_features
from ilk.shards.spaces import ShardSpace


def map_features(manifest: Manifest, space: ShardSpace) -> NDArray[Any]:
    """Return the features of all rows, `[n, d]` as stored, mapped from a file beside the parts.

    The name of the file holds the digest of what it is a copy of, so that a grown folder gets
    another; older ones are deleted. A fingerprint lies beside it: a copy that was cut off or
    altered is made again.

    Raises:
        ArtifactError: A part is damaged.
        OutputError: There is no room.
    """
    sources = "".join(shard.source for shard in manifest.shards)
    text = f"{space.key} {space.dtype} {space.d} {manifest.n_rows} {sources}"
    stamps = "".join(_stamp(space.part_path(i)) for i in range(manifest.n_shards))
    name = hashlib.sha256((text + stamps).encode()).hexdigest()[:16]
    path = space.home / f"features-{name}.npy"
    if not _is_whole(path):
        if path.is_dir():
            raise ArtifactError(f"{escape_path(path)} is a folder; remove it")
        replace_atomically(path, lambda temporary: _copy(temporary, manifest, space))
        write_json(_find_fingerprint(path), dict(describe_file(path)))
        for old in (*space.home.glob("features-*.npy"), *space.home.glob("features-*.json")):
            if old not in (path, _find_fingerprint(path)):
                with suppress(OSError):
                    old.unlink()
    array: NDArray[Any] = np.load(path, mmap_mode="r")
    return array


def _find_fingerprint(path: Path) -> Path:
    return path.with_suffix(".json")


def _is_whole(path: Path) -> bool:
    """Whether the copy is there as it was written."""
    try:
        check_regular_file(path)
        fields = parse_json(read_regular_file(_find_fingerprint(path)), path)
        check_digest(fields, path)
        return all(fields.get(name) == value for name, value in describe_file(path).items())
    except (OSError, ArtifactError):
        return False


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
