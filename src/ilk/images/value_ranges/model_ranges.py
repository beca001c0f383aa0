"""Read images with the value ranges that a model was fitted with, whatever they were read with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ilk.core import threaded_map as threads
from ilk.core.progress import Progress, silent_progress
from ilk.images.decoding.derived_digest import derive_digest
from ilk.images.decoding.pages import mark_first_page
from ilk.images.decoding.samples import is_deep
from ilk.images.inspection.contents import inspect_content, to_content_map
from ilk.images.inspection.files import inspect_file
from ilk.images.rows import Content, Images, Row
from ilk.images.rows.refused import ImageError
from ilk.images.value_ranges.assign_ranges import MeasurementCache, apply_ranges, drop_range_notes
from ilk.images.value_ranges.value_range import ValueRanges


def use_ranges(
    images: Images,
    ranges: ValueRanges,
    store: MeasurementCache | None = None,
    progress: Progress = silent_progress,
) -> Images:
    """Return the images with the value ranges of a model; values outside are clipped and noted.

    Args:
        images: Images that were read with any value range.
        ranges: Those of the model, by kind; images of a kind without one are read as their file
            alone says.
        store: Cache of the least and greatest values.
        progress: Reports the number of measured images.
    """
    if dict(images.value_ranges) == dict(ranges):
        return images
    rows = list(images.rows)
    deep = [i for i, row in enumerate(rows) if row.status == "used" and is_deep(row.mode)]
    if images.value_ranges:
        for i in deep:
            rows[i] = _forget_range(images, rows[i])

    def get_source(i: int) -> Path | Content:
        return images.source_of(images.rows[i])

    rows, _, notes = apply_ranges(rows, ranges, get_source, store=store, progress=progress)
    renamed = {images.rows[i].digest: rows[i].digest for i in deep if rows[i].digest}
    return replace(
        images,
        rows=tuple(rows),
        contents=to_content_map(images.contents).rename(renamed),
        notes=(*drop_range_notes(images.notes), *notes),
        value_ranges=dict(ranges),
    )


def inspect_again(images: Images, rows: Sequence[Row]) -> Images:
    """Return rows of images as files that were never read: refused ones get another chance.

    Their pages stay, and their value ranges go. The path of each is that which is shown. A file
    that an archive refused to give stays refused for that reason.
    """

    def inspect(row: Row) -> Row:
        new = _forget_range(images, Row(row.path, digest=row.digest, page=row.page))
        if new.reason == "missing" and row.status == "refused" and not row.digest:
            new = replace(new, reason=row.reason, detail=row.detail)
        return replace(mark_first_page(new), path=str(images.shown_path_of(row)))

    with silent_progress("", len(rows)) as advance:
        found = list(threads.map_threaded(inspect, rows, advance))
    pairs = zip(rows, found, strict=True)
    renamed = {old.digest: new.digest for old, new in pairs if new.digest}
    return Images(None, tuple(found), to_content_map(images.contents).rename(renamed))


def _forget_range(images: Images, row: Row) -> Row:
    """Return a row as it is without a value range, which is part of its digest."""
    plain = replace(row, detail="", value_range=None)
    try:
        source = images.source_of(row)
    except ImageError as error:  # of an archive that has changed
        return replace(plain, status="refused", reason=error.reason, detail=error.detail)
    found = (
        inspect_file(source, plain) if isinstance(source, Path) else inspect_content(source, plain)
    )
    return replace(found, digest=derive_digest(found.digest, row.page)) if found.digest else found
