"""One file: its bytes, their digest and the image's header."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from typing import BinaryIO

from ilk.images.formats import MAX_PIXELS, header, quiet
from ilk.images.refused import Refused
from ilk.images.rows import Row

WHOLE = 64 * 2**20  # bytes up to which a file is read at once; a larger one is read as it is needed


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[tuple[BinaryIO, int]]:
    """The file at `path`, to be read from anywhere, and its size in bytes.

    Raises:
        Refused: missing or unreadable.
    """
    with _regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            source: BinaryIO = BytesIO(file.read()) if size <= WHOLE else file
        except OSError as error:
            raise _barred(path, error) from error
        yield source, size


def _regular(path: str | os.PathLike[str]) -> BinaryIO:
    try:
        # Asked before opening: to open a named pipe is to wait for someone to write into it.
        if not stat.S_ISREG(mode := os.stat(path).st_mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "no regular file"
            raise Refused("unreadable", kind, lasting=False)
        return open(path, "rb")
    except (OSError, ValueError) as error:
        raise _barred(path, error) from error


def _barred(path: str | os.PathLike[str], error: OSError | ValueError) -> Refused:
    why = getattr(error, "strerror", None) or str(error)
    if isinstance(error, FileNotFoundError | NotADirectoryError | ValueError):
        if not isinstance(error, ValueError) and os.path.islink(path):
            why = f"a link to {os.readlink(path)}, which is not there"
        return Refused("missing", why, lasting=False)
    return Refused("unreadable", why, lasting=False)


def inspect(
    path: str | os.PathLike[str],
    row: Row | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Row:
    """The row of the file at `path`: digest, size and header, or why there is no image.

    Nothing is decoded. `row` gives what is known already: the name to keep, label and part.
    """
    row = row or Row(os.fspath(path))
    try:
        with opened(path) as (source, size):
            row = replace(row, size=size)
            digest = hashlib.file_digest(source, "sha256").hexdigest()  # type: ignore[arg-type]
            row = replace(row, digest=digest)
            with quiet():
                image = header(source, max_pixels)
            width, height = image.size
            return replace(
                row, width=width, height=height, mode=image.mode, format=image.format or ""
            )
    except Refused as refused:
        return replace(row, status="refused", reason=refused.reason, detail=refused.detail)
