"""The value range of a source: which stored values of deep images are black and white.

A file of 16 bits does not say how many of them its values use: those of 12-bit cameras, scanners
and microscopes go up to 4095, and scaled by 255/65535 sixteen greys are left of them. The range is
found for all images of a source together, from the greatest and the least value of its training
images, never for each image, so that a darker image stays darker. A model keeps the range that it
was fitted with.

A range that is not what a file is read with by default is part of the digest of the image (see
`ilk.images.decoding.derived_digest`), so that a feature is never that of another range.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from ilk.core.errors import ArtifactError, InputError
from ilk.images.decoding.samples import ValueRange

INTEGER, FLOAT, EVERY = "integer", "float", "every"
BITS = (8, 10, 12, 14, 16)
HOUNSFIELD = (-1024.0, 3071.0)  # 12 bits of computed tomography
UNSIGNED = tuple((0.0, 2.0**bits - 1) for bits in BITS)
SIGNED = tuple((-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) for bits in BITS)
STANDARD = {
    INTEGER: (*UNSIGNED, SIGNED[0], SIGNED[1], HOUNSFIELD, *SIGNED[2:]),
    FLOAT: ((0.0, 1.0), (-1.0, 1.0), *UNSIGNED),
}
LEAST_USE = 1 / 8  # of a standard range that floats beyond 1 have to fill
NUMBER = r"-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
PATTERN = re.compile(rf"\s*({NUMBER})\s*[-:]\s*({NUMBER})\s*")

ValueRanges = Mapping[str, ValueRange]
"""Ranges by kind of stored number, `integer` or `float`; `every` for a range given by the user,
which also replaces what files state."""


def get_kind(mode: str) -> str:
    """Return the kind of stored number of a deep mode."""
    return FLOAT if mode == "F" else INTEGER


def parse_value_range(value: Any) -> ValueRanges | None:
    """Return the ranges that a setting names; None for `auto`.

    Args:
        value: "auto", text such as "0-4095", a pair of numbers, or the ranges of a model.

    Raises:
        InputError: It is none of these.
    """
    if value is None or (isinstance(value, str) and value == "auto"):
        return None
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, str):
        match = PATTERN.fullmatch(value)
        value = match.groups() if match else ()
    try:
        low, high = map(float, value)
    except (TypeError, ValueError):
        low, high = math.nan, math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(
            "the value range is LOW-HIGH, the stored values that are black and white, such as "
            "0-4095 for 12 bits or -1024-3071 for computed tomography; or auto"
        )
    return {EVERY: (low, high)}


def choose_range(kind: str, low: float, high: float) -> ValueRange:
    """Return the smallest standard range that holds values from `low` to `high`.

    It has 8, 10, 12, 14 or 16 bits; floats are from 0 to 1. Without one that fits, such as for
    floats up to 3, it is from `low`, or 0 if that is less, to `high`.
    """
    for least, greatest in STANDARD[kind]:
        if least <= low and high <= greatest:
            if kind == FLOAT and greatest > 1 and high < LEAST_USE * greatest:
                break
            return least, greatest
    low = min(low, 0.0)
    return low, max(high, math.nextafter(low, math.inf))


def find_range(ranges: ValueRanges, mode: str) -> ValueRange | None:
    """Return the range for images of a deep mode, None if there is none."""
    return ranges.get(EVERY) or ranges.get(get_kind(mode))


def format_range(value_range: ValueRange) -> str:
    """Return a range such as `0 to 4,095`."""
    return " to ".join(format_value(v) for v in value_range)


def format_value(value: float) -> str:
    """Return a stored value as people write it."""
    return f"{int(value):,}" if value == int(value) else f"{value:.4g}"


def restore_ranges(stored: Any) -> dict[str, ValueRange]:
    """Return the ranges that the description of a model holds, empty if it has none.

    Raises:
        ArtifactError: They are not ranges.
    """
    if stored is None:
        return {}
    try:
        ranges = {str(kind): (float(low), float(high)) for kind, (low, high) in stored.items()}
        valid = all(math.isfinite(lo) and lo < hi < math.inf for lo, hi in ranges.values())
    except (AttributeError, TypeError, ValueError):
        valid = False
    if not valid:
        raise ArtifactError("the value range of the model is damaged; fit it again")
    return ranges
