"""Check the fields of a part that was read from a file, before anything is computed with them.

Types come from the annotations of the part's class. Its class variable `shapes` gives the axes of
each array by letters, such as `{"weight": "k d", "bias": "k"}`: equal letters are equal lengths, a
number is a length. NumPy would otherwise stretch an array of one row, and answer. Its class
variable `bounds` gives the least and the greatest value of numbers and arrays.
"""

from __future__ import annotations

import math
import types
from dataclasses import fields
from typing import Any, Union, get_args, get_origin

import numpy as np
from numpy.typing import NDArray

from ilk.core.part_bounds import NON_NEGATIVE, Bounds
from ilk.core.typed_values import check_type, get_hints

MASKED_FIELDS = {"bias", "logits", "constant"}  # -inf: a class without training rows
ANYTHING: Bounds = (-math.inf, math.inf)


def check_part(part: Any, name: str) -> None:
    """Check types, values and shapes of the fields of a part.

    Args:
        part: Instance of a class with a `kind`; parts inside it are checked already.
        name: Its name, for messages.

    Raises:
        TypeError: A field has another type.
        ValueError: A number is not finite or out of bounds, or a shape does not fit.
    """
    part_class: Any = type(part)
    hints, bounds = get_hints(part_class), getattr(part, "bounds", {})
    for f in fields(part):
        value, place = getattr(part, f.name), f"{name}.{f.name}"
        hint = _resolve_optional(value, hints[f.name])
        if get_origin(hint) is np.ndarray:
            _check_dtype(value, hint, place)
            if f.name not in getattr(part, "nan_fields", ()):
                _check_values(value, f.name, bounds.get(f.name, ANYTHING), place)
        elif hint in (int, float, str, bool):
            check_type(value, hint, place)
            low, high = bounds.get(f.name, NON_NEGATIVE if hint is int else ANYTHING)
            if hint in (int, float) and not low <= value <= high:
                raise ValueError(f"{place} is {value:.6g}, out of bounds")
        elif hint is not type(None):
            _check_parts(value, hint, place)
    _check_shapes(part, name)


def _resolve_optional(value: Any, hint: Any) -> Any:
    """Return the annotation without `| None`, or that of None where the value is None."""
    if get_origin(hint) not in (Union, types.UnionType):
        return hint
    if value is None and type(None) in get_args(hint):
        return type(None)
    return next(option for option in get_args(hint) if option is not type(None))


def _check_parts(value: Any, hint: Any, place: str) -> None:
    """Check a part inside a part, or a list of them."""
    if get_origin(hint) is tuple:
        if not (isinstance(value, tuple) and value):
            raise TypeError(f"{place} is not a list of parts")
        for i, item in enumerate(value):
            _check_parts(item, get_args(hint)[0], f"{place}.{i}")
    elif not hasattr(value, "kind") or (hint is not Any and not isinstance(value, hint)):
        raise TypeError(f"{place} is no {getattr(hint, '__name__', 'part')}")


def _check_dtype(value: Any, hint: Any, place: str) -> None:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{place} is not an array")
    [dtype] = get_args(get_args(hint)[1])
    kinds = "fiu" if dtype is Any else np.dtype(dtype).kind
    if value.dtype.kind not in kinds:
        raise TypeError(f"{place} holds {value.dtype} and not numbers of the right kind")


def _check_values(value: NDArray[Any], name: str, bounds: Bounds, place: str) -> None:
    if not value.size:
        return
    low, high = float(value.min()), float(value.max())  # nan if any value is
    is_masked = low == -math.inf and name in MASKED_FIELDS
    if math.isnan(low) or math.isinf(high) or (math.isinf(low) and not is_masked):
        raise ValueError(f"{place} holds a value that is not finite")
    if not (bounds[0] <= low and high <= bounds[1]):
        raise ValueError(f"{place} holds values from {low:.6g} to {high:.6g}, out of bounds")


def _check_shapes(part: Any, name: str) -> None:
    """Check that axes with one letter have one length; of `m?`, 0 is allowed as well."""
    lengths: dict[str, int] = {}
    for field_name, axes in getattr(part, "shapes", {}).items():
        array = getattr(part, field_name)
        if array is None:
            continue
        letters = axes.split()
        if array.ndim != len(letters):
            raise ValueError(f"{name}.{field_name} has {array.ndim} axes instead of {len(letters)}")
        for letter, length in zip(letters, array.shape, strict=True):
            if letter.endswith("?") and length == 0:
                continue
            letter = letter.rstrip("?")
            expected = int(letter) if letter.isdecimal() else lengths.setdefault(letter, length)
            if length != expected:
                raise ValueError(
                    f"{name}.{field_name} has the shape {list(array.shape)}, which does not fit "
                    "the other arrays"
                )
