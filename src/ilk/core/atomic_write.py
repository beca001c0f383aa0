"""Write a file so that a reader finds either the old content or the new, never a part of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ilk.core.errors import OutputError
from ilk.core.leftovers import delete_leftovers, get_temporary_path


def write_atomically(path: Path, content: bytes) -> None:
    """Replace the file at `path` by `content` in one step.

    Raises:
        OutputError: The folder cannot be written or the disk is full. The old file is intact.
    """
    replace_atomically(path, lambda temporary: _write(temporary, content))


def replace_atomically(path: Path, write: Callable[[Path], object], *, clean: bool = True) -> None:
    """Call `write` with a temporary path beside `path`, then move the result to `path`.

    Args:
        path: File to create or replace; its folder must exist.
        write: Writes the whole content to the path it is given.
        clean: Delete what processes that were killed have left of this file, which takes as long as
            the folder has files.

    Raises:
        OutputError: The folder cannot be written or the disk is full. The old file is intact.
    """
    temporary = get_temporary_path(path)
    if clean:
        delete_leftovers(path)
    try:
        write(temporary)
        _flush_to_disk(temporary)
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):  # a read-only disk refuses this as well
            temporary.unlink()
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}; free some space "
            "or choose another location"
        ) from error


def _write(temporary: Path, content: bytes) -> None:
    with temporary.open("wb") as file:
        file.write(content)


def _flush_to_disk(temporary: Path) -> None:
    """Without fsync, a power cut may keep the new name and lose the bytes."""
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
