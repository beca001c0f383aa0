"""Find the same picture in several files by its pixels, whatever the files' bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Protocol

from ilk.images.decoding.samples import is_deep
from ilk.images.duplicates.same_content import refuse_duplicates
from ilk.images.rows import Images, Row


class PixelDigests(Protocol):
    """The part of a store that knows the digests of pixels."""

    def get_pixel_digests(self, digests: Iterable[str], /) -> Mapping[str, str]: ...


def refuse_pixel_duplicates(images: Images, store: PixelDigests) -> Images:
    """Return the images with their pixel digests, and those refused that are the same picture.

    The rules are those of `refuse_duplicates`, which intake applies to the bytes of files.

    Args:
        images: Images that were decoded.
        store: Digests of the pixels, by digest of the file; images that it lacks take no part.
    """
    known = store.get_pixel_digests(row.digest for row in images.used)
    rows = [
        replace(row, pixel_digest=digest)
        if row.status == "used" and (digest := _find_digest(images, row, known))
        else row
        for row in images.rows
    ]
    return replace(images, rows=tuple(refuse_duplicates(rows, "pixels")))


def _find_digest(images: Images, row: Row, known: Mapping[str, str]) -> str:
    """Return the digest of an image's pixels; of pixels in memory it is the digest of the row."""
    if row.size == 0 and row.digest in images.contents and not is_deep(row.mode):
        return row.digest
    return known.get(row.digest, "")
