"""Open the file of an image: only regular files, read whole or piecewise, and never for ever."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, BytesIO, FileIO, RawIOBase
from typing import Any, BinaryIO

from ilk.core.blocked_reads import watch_read
from ilk.images.rows.part_paths import describe_part
from ilk.images.rows.refused import ImageError

MAX_IN_MEMORY = 64 * 2**20  # bytes; larger files are read piecewise


@contextmanager
def open_file(path: str | os.PathLike[str] | bytes) -> Iterator[tuple[BinaryIO, int]]:
    """Open a file for random access; return it with its size in bytes.

    Args:
        path: Path of the file, or its bytes.

    Raises:
        ImageError: The file is missing or unreadable.
    """
    if isinstance(path, bytes):
        yield BytesIO(path), len(path)
        return
    with _open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            source: BinaryIO = BytesIO(file.read()) if size <= MAX_IN_MEMORY else file
        except OSError as error:
            raise _to_image_error(path, error) from error
        yield source, size


class _WatchedFile(RawIOBase):
    """An open file whose reads are noted, for the case that it gives no answer."""

    def __init__(self, file: FileIO, path: str) -> None:
        self._file, self._path = file, path

    def readinto(self, buffer: Any) -> int | None:
        with watch_read(self._path):
            return self._file.readinto(buffer)

    def readall(self) -> bytes:
        with watch_read(self._path):
            return self._file.readall()

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        self._file.close()
        super().close()


def _open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    name = os.fsdecode(path)
    try:
        with watch_read(name):
            # Checked before opening: opening a named pipe blocks until something writes to it.
            if not stat.S_ISREG(mode := os.stat(path).st_mode):
                description = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
                raise ImageError("unreadable", description, is_permanent=False)
            return BufferedReader(_WatchedFile(open(path, "rb", buffering=0), name))
    except (OSError, ValueError) as error:
        raise _to_image_error(path, error) from error


def _to_image_error(path: str | os.PathLike[str], error: OSError | ValueError) -> ImageError:
    why = getattr(error, "strerror", None) or str(error)
    if isinstance(error, FileNotFoundError | NotADirectoryError | ValueError):
        if not isinstance(error, ValueError) and os.path.islink(path):
            why = f"a link to {os.readlink(path)}, which does not exist"
        why = describe_part(os.fsdecode(path)) or why
        return ImageError("missing", why, is_permanent=False)
    return ImageError("unreadable", why, is_permanent=False)
