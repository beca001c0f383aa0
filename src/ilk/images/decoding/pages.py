"""Files with several pages or frames: how many there are, and how many may be read."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import replace
from typing import BinaryIO

from ilk.core.errors import InputError
from ilk.images.decoding.formats import MAX_PIXELS, AnyImage
from ilk.images.rows import Row, escape_path

PAGES = ("first", "all")
OPTION_HINT = " (--pages all)"  # of no use where there is no command line
MAX_PAGES = 1_000  # of one file
MAX_TOTAL_PIXELS = 16 * MAX_PIXELS  # of all pages of one file
MAX_DRAWN_PIXELS = 2 * 10**11  # of frames that are drawn on those before them: some minutes
SEQUENTIAL_FORMATS = ("GIF", "PNG", "WEBP", "AVIF")
GIF_HEADER, GIF_EXTENSION, GIF_IMAGE, GIF_END = 13, 0x21, 0x2C, 0x3B  # GIF89a, sections 17 to 27


def check_pages(pages: str) -> None:
    """Raise InputError if `pages` is not a setting of `--pages`."""
    if pages not in PAGES:
        raise InputError(f"pages is {pages!r}; it must be 'first' or 'all'")


def count_pages(image: AnyImage, source: BinaryIO) -> int:
    """Return the number of pages or frames of an image, at most one more than `MAX_PAGES`.

    Args:
        image: The image, opened.
        source: Its file.
    """
    if image.format == "GIF":
        position = source.tell()
        n = _count_gif_frames(source)
        source.seek(position)
        return max(1, n)
    found: int = getattr(image, "n_pages", 0) or getattr(image, "n_frames", 1)
    return min(found, MAX_PAGES + 1)


def explain_excess(row: Row) -> str:
    """Return why the pages of a file are too many to be read, "" if they are not."""
    n, n_pixels = row.n_pages, row.width * row.height
    if n > MAX_PAGES:
        return f"more than {MAX_PAGES:,} pages"
    is_drawn = row.format in SEQUENTIAL_FORMATS
    if n * n_pixels > MAX_TOTAL_PIXELS or (is_drawn and n * n * n_pixels > MAX_DRAWN_PIXELS):
        return f"{n:,} pages of {row.width} × {row.height} pixels, too much together"
    return ""


def describe_pages(rows: Sequence[Row]) -> str:
    """Return a note on files of which only the first page is used, "" if there are none."""
    several = [row for row in rows if row.status == "used" and row.n_pages > 1 and not row.page]
    if not several:
        return ""
    example = f"{escape_path(several[0].path)} has {several[0].n_pages:,}"
    n = f"{len(several):,} files have" if len(several) > 1 else "1 file has"
    return (
        f"{n} several pages or frames ({example}); the first is used; --pages all "
        "(pages='all') makes an image of each"
    )


def describe_page_groups(rows: Sequence[Row]) -> str:
    """Return a note on files of which every page is an image, "" if there are none."""
    n = len({row.path.rpartition("[")[0] for row in rows if row.status == "used" and row.page})
    if not n:
        return ""
    files = f"{n:,} files" if n > 1 else "1 file"
    return f"each page or frame of {files} is an image; the pages of a file are one group"


def mark_first_page(row: Row) -> Row:
    """Say in the detail of a used row that its file has further pages."""
    if row.status != "used" or row.n_pages < 2 or row.page:
        return row
    return replace(row, detail=f"the first of {row.n_pages:,} pages or frames{OPTION_HINT}")


def name_page_group(path: str, digest: str) -> str:
    """Return the group of the pages of a file, which are related: its name and its content."""
    return f"{posixpath.basename(path)} ({digest[:8]})"


def is_page_group(row: Row) -> bool:
    """Whether the group of a row is that of the pages of its file, and none that was given."""
    start = f"{posixpath.basename(row.file_path)} ("
    return bool(row.page and row.group and row.group.startswith(start))


def _count_gif_frames(source: BinaryIO) -> int:
    """Count the images of a GIF without decoding them; a file that is cut off ends the count."""
    source.seek(0)
    head = source.read(GIF_HEADER)
    if len(head) < GIF_HEADER:
        return 0
    source.seek(_get_table_bytes(head[10]), 1)
    n = 0
    while n <= MAX_PAGES and (kind := source.read(1)):
        if kind[0] == GIF_IMAGE:
            n += 1
            descriptor = source.read(9)
            if len(descriptor) < 9:
                break
            source.seek(_get_table_bytes(descriptor[8]) + 1, 1)
        elif kind[0] == GIF_EXTENSION:
            source.seek(1, 1)
        else:
            if kind[0] == GIF_END:
                break
            continue
        while size := source.read(1):
            if size[0] == 0:
                break
            source.seek(size[0], 1)
    return n


def _get_table_bytes(flags: int) -> int:
    """Return the size of a colour table according to the flags before it."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0
