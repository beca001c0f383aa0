"""Read images with the value ranges that a model was fitted with, whatever they were read with."""

from __future__ import annotations

from collections import ChainMap
from dataclasses import replace

from ilk.core.progress import Progress, silent_progress
from ilk.images.contents import inspect_content
from ilk.images.files import inspect_file
from ilk.images.ranges import MeasurementCache, apply_ranges, drop_range_notes
from ilk.images.reading import derive_digest
from ilk.images.rows import Content, Images, Row
from ilk.images.samples import is_deep
from ilk.images.value_range import ValueRanges


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
    rows, contents = list(images.rows), dict[str, Content]()
    deep = [i for i, row in enumerate(rows) if row.status == "used" and is_deep(row.mode)]
    if images.value_ranges:
        for i in deep:
            rows[i] = _forget_range(images, rows[i])
    sources = {i: images.source_of(images.rows[i]) for i in deep}
    rows, _, notes = apply_ranges(rows, ranges, sources.__getitem__, store=store, progress=progress)
    for i in deep:
        if images.rows[i].digest in images.contents:
            contents[rows[i].digest] = images.contents[images.rows[i].digest]
    return replace(
        images,
        rows=tuple(rows),
        contents=ChainMap(contents, images.contents) if contents else images.contents,  # type: ignore[arg-type]
        notes=(*drop_range_notes(images.notes), *notes),
        value_ranges=dict(ranges),
    )


def _forget_range(images: Images, row: Row) -> Row:
    """Return a row as it is without a value range, which is part of its digest."""
    plain, source = replace(row, detail="", value_range=None), images.source_of(row)
    if row.digest in images.contents:
        found = inspect_content(images.contents[row.digest], plain)
    else:
        found = inspect_file(source, plain)  # type: ignore[arg-type]
    return replace(found, digest=derive_digest(found.digest, row.page)) if found.digest else found
