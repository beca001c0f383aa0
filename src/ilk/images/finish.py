"""From inspected files to the rows of a source: pages, value ranges, and notes on both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ilk.core.progress import Progress, silent_progress
from ilk.images.decoding.formats import MAX_PIXELS
from ilk.images.decoding.pages import describe_page_groups, describe_pages, explain_excess
from ilk.images.inspection.contents import ContentMap
from ilk.images.inspection.files import inspect_pages
from ilk.images.inspection.members import Member
from ilk.images.rows import Content, Images, Row
from ilk.images.rows.refused import ImageError
from ilk.images.value_ranges.assign_ranges import MeasurementCache, apply_ranges
from ilk.images.value_ranges.value_range import ValueRanges


def finish_rows(
    root: Path | None,
    rows: Sequence[Row],
    contents: Mapping[int, Content | Member],
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
    sources = [_Source(contents.get(i), row.digest) for i, row in enumerate(rows)]
    note = ""
    if any(row.n_pages > 1 for row in rows):
        if pages == "all":
            rows, sources = _expand(root, rows, sources, max_pixels)
            note = describe_page_groups(rows)
        else:
            note = describe_pages(rows)
    ranged, found, notes = apply_ranges(
        rows,
        ranges,
        lambda i: sources[i].open(root, rows[i]),
        max_pixels=max_pixels,
        store=store,
        progress=progress,
    )
    held = [
        (row.digest, source)
        for row, source in zip(ranged, sources, strict=True)
        if source.item is not None and row.digest
    ]
    in_memory = ContentMap(
        {digest: source.item for digest, source in held if source.item is not None},
        {digest: source.digest for digest, source in held},
    )
    return Images(
        root,
        tuple(ranged),
        in_memory,
        notes=tuple(filter(None, (note, *notes))),
        value_ranges=found,
    )


class _Source(NamedTuple):
    item: Content | Member | None  # None for a file
    digest: str  # of the file

    def open(self, root: Path | None, row: Row) -> Path | Content:
        """Return the path of the file of a row, or its image in memory; reads from archives."""
        if isinstance(self.item, Member):
            return self.item.read()
        return Images(root, ()).path_of(row) if self.item is None else self.item


def _expand(
    root: Path | None, rows: Sequence[Row], sources: Sequence[_Source], max_pixels: int
) -> tuple[list[Row], list[_Source]]:
    """Return one row per page, and the source of each."""
    out: list[Row] = []
    expanded_sources: list[_Source] = []
    for row, source in zip(rows, sources, strict=True):
        expanded = _list_pages(root, row, source, max_pixels)
        out += expanded
        expanded_sources += [source] * len(expanded)
    return out, expanded_sources


def _list_pages(root: Path | None, row: Row, source: _Source, max_pixels: int) -> list[Row]:
    if row.status != "used" or row.n_pages < 2:
        return [row]
    if excess := explain_excess(row):
        detail = f"{excess}; split it, or read only the first page"
        return [replace(row, status="refused", reason="too large", detail=detail)]
    try:
        item = source.open(root, row)
    except ImageError as error:
        return [replace(row, status="refused", reason=error.reason, detail=error.detail)]
    return inspect_pages(item, row, max_pixels) if isinstance(item, bytes | Path) else [row]
