"""Inspect one file: its bytes, their digest and the image header."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BufferedReader, BytesIO, FileIO, RawIOBase
from typing import Any, BinaryIO

from ilk.core.blocked_reads import watch_read
from ilk.images.array_image import ArrayImage
from ilk.images.derived_digest import derive_digest
from ilk.images.exif import read_origin
from ilk.images.formats import MAX_PIXELS, mute_pillow_warnings, read_header
from ilk.images.pages import count_pages, name_page_group
from ilk.images.part_paths import describe_part
from ilk.images.refused import ImageError
from ilk.images.rows import Row
from ilk.images.samples import get_mode, get_stated_range

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


def inspect_file(
    path: str | os.PathLike[str] | bytes,
    row: Row | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Row:
    """Return the row of a file: digest, size and header, or why it is refused.

    Nothing is decoded. `path` may also be the bytes of the file. `row` carries the path, label and
    split that are already known.
    """
    row = row or Row("" if isinstance(path, bytes) else os.fspath(path))
    try:
        with open_file(path) as (source, size):
            row = replace(row, size=size)
            digest = hashlib.file_digest(source, "sha256").hexdigest()  # type: ignore[arg-type]
            row = replace(row, digest=digest)
            with mute_pillow_warnings():
                return _add_header(row, source, max_pixels)
    except ImageError as error:
        return replace(row, status="refused", reason=error.reason, detail=error.detail)


def _add_header(row: Row, source: BinaryIO, max_pixels: int) -> Row:
    image = read_header(source, max_pixels, row.page)
    n_pages = count_pages(image, source)
    taken, camera = ("", "") if isinstance(image, ArrayImage) else read_origin(image)
    return replace(
        row,
        taken=taken,
        camera=camera,
        width=image.size[0],
        height=image.size[1],
        mode=get_mode(image),
        format=image.format or "",
        n_pages=n_pages if n_pages > 1 else 0,
        value_range=get_stated_range(image),
    )


def inspect_pages(
    path: str | os.PathLike[str] | bytes, row: Row, max_pixels: int = MAX_PIXELS
) -> list[Row]:
    """Return one row per page of a file that `inspect_file` has found to hold several.

    Args:
        path: Path of the file, or its bytes.
        row: The row of the file.
        max_pixels: Width × height above which a page is refused.
    """
    rows = []
    # The pages of a file are related, those of another of the same name in another folder are not.
    group = row.group or name_page_group(row.path, row.digest)
    try:
        with open_file(path) as (source, _), mute_pillow_warnings():
            for page in range(1, row.n_pages + 1):
                one = replace(
                    row,
                    path=f"{row.path}[{page}]",
                    page=page,
                    group=group,
                    digest=derive_digest(row.digest, page),
                )
                try:
                    rows.append(_add_header(one, source, max_pixels))
                except ImageError as error:
                    rows.append(
                        replace(one, status="refused", reason=error.reason, detail=error.detail)
                    )
    except ImageError as error:
        return [replace(row, status="refused", reason=error.reason, detail=error.detail)]
    return rows
