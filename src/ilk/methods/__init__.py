"""Classifiers: one paper, one file. A method is found by its file; there is nothing to register."""

from __future__ import annotations

from functools import cache
from typing import Any

from ilk.core.contracts import Method, MethodTags, describe
from ilk.core.registry import find_classes, parse_call

__all__ = ["describe", "list_methods", "parse"]


@cache
def list_methods() -> dict[str, type[Any]]:
    """Every method class by name: the one public frozen dataclass with `fit` of each file."""
    return find_classes(__name__, MethodTags)


def parse(text: str) -> Method:
    """The method that `text` describes, such as `GDA` or `GDA(shrink=0.2)`.

    Raises:
        UnknownName: No method is called so; the message offers the nearest.
        InputError: The arguments are not plain values, or the method has no such field.
    """
    method: Method = parse_call(text, list_methods())
    return method
