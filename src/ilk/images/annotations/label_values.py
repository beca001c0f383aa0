"""One value as a class name: text, numbers, truth values and dates, the same from every source.

- Spaces around a name do not belong to it.
- Numbers: where all are whole, `1.0` is `1`, in text as well (a column of floats in a CSV gives the
  classes that it gives in Parquet). `007` and `1.10` stay as they are.
- Dates: where no label has a time of day, it is left out.
- Nothing is known of None, nan, NA, NaT and empty text. The texts `nan`, `None`, `NA` and `null`
  are names: Namibia is `NA`.
- Other objects, such as dictionaries, are refused: their Python form is not a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from math import isfinite
from numbers import Number
from typing import Any

from ilk.core.errors import InputError
from ilk.images.annotations.label_sets import format_label_set, parse_list
from ilk.images.rows import escape_path

LABEL_TYPES = (str, Number, date)
_WHOLE = re.compile(r"[-+]?\d+(\.0+)?")
_MIDNIGHT = re.compile(r"(\d{4}-\d\d-\d\d)[ T]00:00:00(\.0+)?")
_UNDECODED = re.compile("[\ud800-\udfff]")


def parse_label(value: Any) -> str | None:
    """Convert one value to a class name; None if it is empty.

    Raises:
        InputError: It is neither text nor a number, truth value, date or list of names.
    """
    return parse_labels([value])[0]


def parse_labels(values: Iterable[Any]) -> list[str | None]:
    """Convert the values of a column, or a list of labels, to class names; None where empty.

    >>> parse_labels(["1.0", "2.0", ""]), parse_labels([1.0, 2.5]), parse_labels([" cat", "007"])
    (['1', '2', None], ['1.0', '2.5'], ['cat', '007'])

    Raises:
        InputError: A value is neither text nor a number, truth value, date or list of names.
    """
    values = [_to_plain(value) for value in values]
    is_whole = all(_is_whole(value) for value in values if isinstance(value, float | Decimal))
    known: dict[str, str | None] = {}
    texts = [
        known[value]
        if type(value) is str and value in known
        else known.setdefault(value, _to_text(value, is_whole))
        if type(value) is str
        else _to_text(value, is_whole)
        for value in values
    ]
    for pattern, group in ((_WHOLE, "."), (_MIDNIGHT, None)):
        distinct = {text for text in texts if text is not None}
        if distinct and all(map(pattern.fullmatch, distinct)):
            short = {t: t.split(".")[0] if group else t[:10] for t in distinct}
            texts = [None if text is None else short[text] for text in texts]
    return texts


def is_missing(value: Any) -> bool:
    """Whether a cell holds no value: None, nan, or what pandas calls NA and NaT."""
    if value is None:
        return True
    try:
        return bool(value != value)
    except (
        TypeError,
        ValueError,
        ArithmeticError,
    ):  # NA is neither equal to itself nor different; arrays are both
        return type(value).__name__ == "NAType"


def abbreviate(value: Any) -> str:
    """Return a value as short printable text, for messages."""
    text = escape_path(repr(value))
    return text if len(text) <= 40 else f"{text[:39]}…"


def _to_text(value: Any, is_whole: bool) -> str | None:
    """Return one value as text; floating-point numbers as integers if all are whole."""
    items = parse_list(value)
    if items is not None:
        names = [name for item in items if (name := parse_label(item)) is not None]
        return format_label_set(names) if names else None
    if is_missing(value):
        return None
    if isinstance(value, bytes):
        value = _decode(value)
    if not isinstance(value, LABEL_TYPES) or isinstance(value, complex):
        kind = type(value).__name__
        raise InputError(
            f"the label {abbreviate(value)} is of type {kind}; labels are text or numbers, one "
            "per image"
        )
    if isinstance(value, str):
        text = str.__str__(value).strip()
        if _UNDECODED.search(text):
            raise InputError(
                f"the label {abbreviate(text)} is not UTF-8 text; save the table as UTF-8, or "
                "rename the folder"
            )
        return text or None
    if isinstance(value, float | Decimal):
        return str(int(value)) if is_whole else _format_float(value)
    if isinstance(value, datetime):
        return value.isoformat(" ")
    return str(value)


def _to_plain(value: Any) -> Any:
    """Return the value of an Enum, a NumPy scalar or a tensor of one number."""
    if type(value) is str:
        return value
    if isinstance(value, Enum):
        value = value.value
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item") and not is_missing(value):
        kind = getattr(getattr(value, "dtype", None), "kind", "")  # of NumPy
        if kind == "M":
            value = value.astype("datetime64[us]")
        return float(str(value)) if kind == "f" else value.item()  # the shortest text of float32
    return value


def _is_whole(value: Any) -> bool:
    return is_missing(value) or (isfinite(value) and value == int(value))


def _format_float(value: Any) -> str:
    return f"{int(value)}.0" if _is_whole(value) else str(value)


def _decode(value: bytes) -> Any:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value  # refused like other objects
