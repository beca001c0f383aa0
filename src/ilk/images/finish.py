"""From inspected files to the rows of a source: pages, value ranges, and notes on both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ilk.core.progress import Progress, silent_progress
from ilk.images.files import inspect_pages
from ilk.images.formats import MAX_PIXELS
from ilk.images.pages import describe_pages, explain_excess
from ilk.images.ranges import MeasurementCache, apply_ranges
from ilk.images.rows import Content, Images, Row
from ilk.images.value_range import ValueRanges


def finish_rows(
    root: Path | None,
    rows: Sequence[Row],
    contents: Mapping[int, Content],
    ranges: ValueRanges | None,
    *,
    pages: str = "first",
    max_pixels: int = MAX_PIXELS,
    store: MeasurementCache | None = None,
    progress: Progress = silent_progress,
) -> Images:
    """Return the images of inspected rows.

    Args:
        root: The folder that paths are relative to; None if they are used as given.
        rows: One per file, inspected.
        contents: Images in memory, by the position of their row.
        ranges: Value ranges of the user or of a model; None measures the source.
        pages: "first" or "all".
        max_pixels: Width × height above which a page is refused.
        store: Cache of the least and greatest values of deep images.
        progress: Reports the number of measured images.
    """
    sources = [contents.get(i) for i in range(len(rows))]
    note = ""
    if any(row.n_pages > 1 for row in rows):
        if pages == "all":
            rows, sources = _expand(root, rows, sources, max_pixels)
        else:
            note = describe_pages(rows)
    plain = Images(root, ())

    def get_source(i: int) -> Path | Content:
        content = sources[i]
        return plain.path_of(rows[i]) if content is None else content

    ranged, found, notes = apply_ranges(
        rows, ranges, get_source, max_pixels=max_pixels, store=store, progress=progress
    )
    in_memory = {
        row.digest: content
        for row, content in zip(ranged, sources, strict=True)
        if content is not None and row.digest
    }
    notes = [note, *notes] if note else notes
    return Images(root, tuple(ranged), in_memory, tuple(notes), found)


def _expand(
    root: Path | None, rows: Sequence[Row], sources: Sequence[Content | None], max_pixels: int
) -> tuple[list[Row], list[Content | None]]:
    """Return one row per page, and the image in memory of each."""
    out: list[Row] = []
    contents: list[Content | None] = []
    for row, content in zip(rows, sources, strict=True):
        expanded = [row]
        if row.status == "used" and row.n_pages > 1:
            if excess := explain_excess(row):
                detail = f"{excess}; split it, or read only the first page"
                expanded = [replace(row, status="refused", reason="too large", detail=detail)]
            elif content is None or isinstance(content, bytes):
                file = Images(root, ()).path_of(row) if content is None else content
                expanded = inspect_pages(file, row, max_pixels)
        out += expanded
        contents += [content] * len(expanded)
    return out, contents
