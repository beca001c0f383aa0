"""Files as pictures: which files hold the same content or pixels, and one file for each picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ilk.deduplication.evidence import CONTENT, PIXELS, Link
from ilk.images import Images, Row
from ilk.images.inspection.pixel_summary import PixelSummary
from ilk.images.rows.row import COMPARED


class Summaries(Protocol):
    """The part of a store that knows summaries of pixels."""

    def get_pixel_summaries(self, digests: Iterable[str], /) -> Mapping[str, PixelSummary]: ...


@dataclass(frozen=True, eq=False)
class Pictures:
    """The different pictures of a source.

    Attributes:
        rows: Positions of the files that stand for each picture, `n` of them, in their order.
        thumbnails: Their thumbnails, as bytes.
        links: From each other file to the one that stands for its picture.
    """

    rows: tuple[int, ...]
    thumbnails: tuple[bytes, ...]
    links: tuple[Link, ...]


def restore_copies(images: Images) -> Images:
    """Return the images with files used again that were refused because they are copies."""
    rows = tuple(
        replace(row, status="used", reason="", detail="")
        if row.status == "refused" and row.reason in COMPARED and row.digest
        else row
        for row in images.rows
    )
    return replace(images, rows=rows)


def list_pictures(rows: Sequence[Row], store: Summaries) -> Pictures:
    """Return the different pictures among the used rows, by content and by pixels.

    Args:
        rows: All rows of a source; positions are among them.
        store: Summaries of the pixels; images that it lacks take no part.
    """
    used = [i for i, row in enumerate(rows) if row.status == "used" and row.digest]
    known = store.get_pixel_summaries(rows[i].digest for i in used)
    by_content: dict[str, int] = {}
    by_pixels: dict[str, int] = {}
    links: list[Link] = []
    for i in used:
        digest = rows[i].digest
        if digest not in known:
            continue
        if (first := by_content.setdefault(digest, i)) != i:
            links.append(Link(first, i, CONTENT))
        elif (first := by_pixels.setdefault(known[digest].digest, i)) != i:
            links.append(Link(first, i, PIXELS))
    shown = tuple(sorted(by_pixels.values()))
    return Pictures(shown, tuple(known[rows[i].digest].thumbnail for i in shown), tuple(links))
