"""Digests: what makes two encoders the same encoder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from ilk.errors import Unavailable

ROWS = 1  # raised whenever the same network and image would give other features than before


def key(parts: Mapping[str, Any]) -> str:
    """A digest of plain values, the same on every machine and in every order."""
    text = json.dumps({**parts, "rows": ROWS}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: str | PathLike[str]) -> str:
    """SHA-256 of a file's bytes; read once per process unless its time or size changes.

    Raises:
        Unavailable: It cannot be read.
    """
    try:
        stat = Path(path).stat()
        return _digest(fspath(path), stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        raise Unavailable(f"cannot read {path}: {error.strerror or error}") from error


@lru_cache(maxsize=64)
def _digest(path: str, _time: int, _size: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
