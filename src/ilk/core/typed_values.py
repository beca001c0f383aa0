"""Check values that were read from a file against type annotations.

JSON says nothing of types, and a file may have been written by anyone. One function compares a
value with an annotation (plain types, `list`, `tuple`, `dict`, unions, `TypedDict`, dataclasses),
and names the entry that differs. Numbers must be finite, and whole numbers within the range in
which JSON keeps them exact (RFC 8259, section 6).
"""

from __future__ import annotations

import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import (
    Any,
    Literal,
    NotRequired,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

MAX_WHOLE = 2**53  # greatest whole number that a double holds, as do all below
MAX_SHOWN = 40  # characters of a wrong value in a message
_NAMES = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    type(None): "null",
    list: "a list",
    tuple: "a list",
    dict: "an object",
}


def check_type(value: Any, hint: Any, place: str) -> None:
    """Compare a value of JSON with a type annotation.

    Entries of an object that its `TypedDict` does not name are allowed and not looked at: a newer
    version may have added them.

    Args:
        value: The value.
        hint: The annotation; a dataclass stands for an object with its fields.
        place: Name of the value, for the message, such as `metrics.accuracy`.

    Raises:
        TypeError: The value does not fit; the message names the entry.
    """
    if hint is Any:
        return
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        _check_union(value, args, place)
    elif origin is Literal:
        if value not in args or type(value) not in {type(a) for a in args}:
            raise _make_error(value, " or ".join(map(repr, args)), place)
    elif is_typeddict(hint) or (is_dataclass(hint) and isinstance(hint, type)):
        _check_object(value, hint, place)
    elif origin in (dict, Mapping):
        _check_instance(value, dict, place)
        for key, item in value.items():
            check_type(item, args[1], f"{place}.{key}")
    elif origin in (list, tuple, Sequence):
        _check_list(value, args, place)
    else:
        _check_plain(value, origin or hint, place)


def _check_union(value: Any, hints: tuple[Any, ...], place: str) -> None:
    errors = []
    for hint in hints:
        try:
            return check_type(value, hint, place)
        except TypeError as error:
            errors.append(error)
    raise errors[0]


def _check_object(value: Any, hint: Any, place: str) -> None:
    _check_instance(value, dict, place)
    hints = get_hints(hint)
    if is_typeddict(hint):
        required = _list_required(hint)
    else:
        required = frozenset(
            f.name
            for f in fields(hint)
            if f.default is MISSING and f.default_factory is MISSING and f.init
        )
        if unknown := sorted(value.keys() - hints.keys()):
            raise TypeError(f"{place} has an entry {unknown[0]!r} that it cannot have")
    for name in sorted(required):
        if name not in value:
            raise TypeError(f"{_join(place, name)} is missing")
    for name, item in value.items():
        if name in hints:
            check_type(item, hints[name], _join(place, name))


def _check_list(value: Any, args: tuple[Any, ...], place: str) -> None:
    if not isinstance(value, list | tuple):
        raise _make_error(value, "a list", place)
    if (len(args) == 2 and args[1] is Ellipsis) or len(args) == 1:
        args = (args[0],) * len(value)
    if len(args) != len(value):
        raise TypeError(f"{place} has {len(value)} entries instead of {len(args)}")
    for i, (item, hint) in enumerate(zip(value, args, strict=True)):
        check_type(item, hint, f"{place}[{i}]")


def _check_plain(value: Any, hint: Any, place: str) -> None:
    if hint is float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        fits = is_number and (
            math.isfinite(value) if isinstance(value, float) else abs(value) <= MAX_WHOLE
        )
    elif hint is int:
        fits = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_WHOLE
    elif hint in (None, type(None)):
        fits = value is None
    else:
        fits = isinstance(value, hint)
    if not fits:
        raise _make_error(value, _NAMES.get(hint, getattr(hint, "__name__", str(hint))), place)


def _check_instance(value: Any, kind: type, place: str) -> None:
    if not isinstance(value, kind):
        raise _make_error(value, _NAMES[kind], place)


@cache
def get_hints(kind: Any) -> dict[str, Any]:
    """Return the annotations of a class, with `ClassVar` and `NotRequired` unwrapped."""
    return get_type_hints(kind)


@cache
def _list_required(kind: Any) -> frozenset[str]:
    """Return the keys that a `TypedDict` requires, also where annotations are strings."""
    hints = get_type_hints(kind, include_extras=True)
    optional = {name for name, hint in hints.items() if get_origin(hint) is NotRequired}
    return frozenset(kind.__required_keys__ - optional)


def _join(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _make_error(value: Any, expected: str, place: str) -> TypeError:
    if isinstance(value, list | tuple | dict):
        shown = _NAMES[type(value)]
    elif isinstance(value, int) and abs(value) > MAX_WHOLE:
        shown = "a number beyond 2^53"
    else:
        text = repr(value)
        shown = text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
    return TypeError(f"{place} is {shown} instead of {expected}")
