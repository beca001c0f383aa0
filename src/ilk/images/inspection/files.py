"""Inspect one file: its bytes, their digest and the image header."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from typing import BinaryIO

from ilk.images.decoding.array_image import ArrayImage
from ilk.images.decoding.derived_digest import derive_digest
from ilk.images.decoding.exif import read_origin
from ilk.images.decoding.formats import MAX_PIXELS, mute_pillow_warnings, read_header
from ilk.images.decoding.open_file import open_file
from ilk.images.decoding.pages import count_pages, name_page_group
from ilk.images.decoding.samples import get_mode, get_stated_range
from ilk.images.rows import Row
from ilk.images.rows.refused import ImageError


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
