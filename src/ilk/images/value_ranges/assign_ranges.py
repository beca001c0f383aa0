"""Give each image of more than 8 bits its value range: measured over the source, given, or learned.

Images of 8 bits cost nothing; deeper ones are decoded once, and their extremes are remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from ilk.core import threaded_map as threads
from ilk.core.progress import Progress
from ilk.images.decoding.decode import measure_extremes
from ilk.images.decoding.derived_digest import derive_digest, is_default_range
from ilk.images.decoding.formats import MAX_PIXELS, mute_pillow_warnings
from ilk.images.decoding.memory import pixel_budget
from ilk.images.decoding.samples import ValueRange, is_deep
from ilk.images.rows import Content, Row, escape_path
from ilk.images.rows.refused import ImageError
from ilk.images.value_ranges.value_range import (
    EVERY,
    ValueRanges,
    choose_range,
    find_range,
    format_range,
    format_value,
    get_kind,
)

DEEP_IMAGES = "of more than 8 bits"  # in every note on value ranges
EXTREMES = "extremes"  # name of the measurement in the store
Source = Path | Content


class MeasurementCache(Protocol):
    """The part of a store that keeps two numbers per image, by name and digest."""

    def get_measurements(
        self, name: str, digests: Iterable[str], /
    ) -> dict[str, tuple[float, float]]: ...
    def put_measurements(self, name: str, values: Mapping[str, tuple[float, float]], /) -> None: ...


def apply_ranges(
    rows: Sequence[Row],
    given: ValueRanges | None,
    get_source: Callable[[int], Source],
    *,
    max_pixels: int = MAX_PIXELS,
    store: MeasurementCache | None = None,
    progress: Progress,
) -> tuple[list[Row], dict[str, ValueRange], list[str]]:
    """Return rows with their value range and the digest that belongs to it.

    Args:
        rows: Inspected rows; `value_range` is what the file states.
        given: Ranges of the user or of a model; None measures the source.
        get_source: Returns the file, or the image in memory, of the row at a position.
        max_pixels: Width × height above which an image is not decoded.
        store: Cache of the extremes.
        progress: Reports the number of measured images.

    Returns:
        The rows, the ranges by kind, and notes.
    """
    used = [i for i, row in enumerate(rows) if row.status == "used" and is_deep(row.mode)]
    deep = [i for i in used if rows[i].value_range is None or EVERY in (given or ())]
    if given is not None:
        deep = [i for i in deep if find_range(given, rows[i].mode)]
    if not deep:
        return list(rows), dict(given or {}), []
    extremes = _measure(rows, deep, get_source, max_pixels, store, progress)
    ranges = dict(given) if given is not None else _choose(rows, extremes)
    out = list(rows)
    outside: list[str] = []
    for i in deep:
        chosen = find_range(ranges, rows[i].mode)
        if chosen is None:
            continue
        out[i] = _set_range(rows[i], chosen)
        if i in extremes and (extremes[i][0] < chosen[0] or extremes[i][1] > chosen[1]):
            detail = f"values {format_range(extremes[i])} are clipped to {format_range(chosen)}"
            out[i] = replace(out[i], detail="; ".join(filter(None, (out[i].detail, detail))))
            outside.append(f"{escape_path(rows[i].path)}: {detail}")
    return out, ranges, _describe(rows, extremes, ranges, len(deep), given is None, outside)


def drop_range_notes(notes: Sequence[str]) -> tuple[str, ...]:
    """Return notes without those on value ranges."""
    return tuple(note for note in notes if DEEP_IMAGES not in note)


def _measure(
    rows: Sequence[Row],
    deep: Sequence[int],
    get_source: Callable[[int], Source],
    max_pixels: int,
    store: MeasurementCache | None,
    progress: Progress,
) -> dict[int, ValueRange]:
    """Return the least and the greatest value of each image that can be decoded."""
    known = store.get_measurements(EXTREMES, [rows[i].digest for i in deep]) if store else {}
    pending = list({rows[i].digest: i for i in deep if rows[i].digest not in known}.values())

    def measure(i: int) -> tuple[str, ValueRange | None]:
        row = rows[i]
        try:
            with pixel_budget.reserve(2 * row.width * row.height):
                return row.digest, measure_extremes(get_source(i), max_pixels, row.page)
        except (ImageError, MemoryError):  # it will be refused when it is decoded
            return row.digest, None

    if pending:
        with progress("measuring values", len(pending)) as advance, mute_pillow_warnings():
            found = dict(threads.map_threaded(measure, pending, advance))
        new = {digest: pair for digest, pair in found.items() if pair is not None}
        if store and new:
            store.put_measurements(EXTREMES, new)
        known |= new
    return {i: known[rows[i].digest] for i in deep if rows[i].digest in known}


def _choose(rows: Sequence[Row], extremes: Mapping[int, ValueRange]) -> dict[str, ValueRange]:
    """Return the range of each kind that holds the values of all training images."""
    ranges = {}
    for kind in {get_kind(rows[i].mode) for i in extremes}:
        own = [i for i in extremes if get_kind(rows[i].mode) == kind]
        learned = [i for i in own if rows[i].split != "test"] or own
        low = min(extremes[i][0] for i in learned)
        ranges[kind] = choose_range(kind, low, max(extremes[i][1] for i in learned))
    return ranges


def _set_range(row: Row, value_range: ValueRange) -> Row:
    if is_default_range(row.mode, value_range):
        return replace(row, value_range=value_range)
    digest = derive_digest(row.digest, value_range=value_range)
    return replace(row, value_range=value_range, digest=digest)


def _count(n: int) -> str:
    return "1 image" if n == 1 else f"{n:,} images"


def _describe(
    rows: Sequence[Row],
    extremes: Mapping[int, ValueRange],
    ranges: Mapping[str, ValueRange],
    n: int,
    is_measured: bool,
    outside: Sequence[str],
) -> list[str]:
    notes = []
    if is_measured and extremes:
        parts = []
        for kind, value_range in sorted(ranges.items()):
            own = [pair for i, pair in extremes.items() if get_kind(rows[i].mode) == kind]
            found = (min(low for low, _ in own), max(high for _, high in own))
            parts.append(
                f"values of {_count(len(own))} {DEEP_IMAGES} go from "
                f"{format_value(found[0])} to {format_value(found[1])}; black and white are "
                f"{format_range(value_range)}"
            )
        notes.append("; ".join(parts) + "; --value-range LOW-HIGH (value_range=) sets other values")
    if outside:
        notes.append(
            f"{len(outside):,} of {_count(n)} {DEEP_IMAGES}: values outside the value range "
            f"({outside[0]})"
        )
    return notes
