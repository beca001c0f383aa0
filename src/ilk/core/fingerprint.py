"""Digests that identify encoders and files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from ilk.core.errors import Unavailable

KEY_VERSION = 1  # increment when the same network and image give different features


def compute_key(values: Mapping[str, Any]) -> str:
    """Return a digest of plain values, independent of machine and key order."""
    text = json.dumps({**values, "rows": KEY_VERSION}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def hash_file(path: str | PathLike[str]) -> str:
    """Return the SHA-256 of a file; cached per process until its modification time or size changes.

    Raises:
        Unavailable: It cannot be read.
    """
    try:
        stat = Path(path).stat()
        return _hash_cached(fspath(path), stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        raise Unavailable(f"cannot read {path}: {error.strerror or error}") from error


@lru_cache(maxsize=64)
def _hash_cached(path: str, _time: int, _size: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
