"""Images for display: by the path that is shown, read as their row says."""

from __future__ import annotations

from pathlib import Path

from ilk.images.decoding.decode import decode
from ilk.images.rows import Content, Images
from ilk.images.rows.refused import ImageError


def find_picture(images: Images, path: Path) -> Content | None:
    """Return the image whose row is shown with this path, None if its file says it all.

    A page, and an image of more than 8 bits, is decoded as its row says; None if that fails.
    """
    row = images.find_special_row(path)
    if row is None:
        return images.find_content(path)
    try:
        return decode(images.source_of(row), **row.reading)
    except ImageError:
        return None
