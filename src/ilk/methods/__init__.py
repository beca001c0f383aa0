"""One paper, one file. A method is found by its file name; there is nothing to register."""

from __future__ import annotations

import ast
from dataclasses import is_dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from ilk.errors import InputError, UnknownName
from ilk.models import Facts, Method, describe

__all__ = ["available", "describe", "parse"]


@cache
def available() -> dict[str, type[Any]]:
    """Every method class by name: the one public frozen dataclass with `fit` of each file."""
    found = {}
    for info in iter_modules(__path__):
        module = import_module(f"{__name__}.{info.name}")
        for name, value in vars(module).items():
            if (
                isinstance(value, type)
                and value.__module__ == module.__name__
                and is_dataclass(value)
                and issubclass(value, Facts)
                and hasattr(value, "fit")
            ):
                found[name] = value
    return dict(sorted(found.items()))


def parse(text: str) -> Method:
    """The method that `text` describes, such as `GDA` or `GDA(shrink=0.2)`.

    Raises:
        UnknownName: No method is called so; the message offers the nearest.
        InputError: The arguments are not plain values, or the method has no such field.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        call = tree if isinstance(tree, ast.Call) else ast.Call(tree, [], [])
        if not isinstance(call.func, ast.Name) or call.args:
            raise ValueError
        given = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    except (SyntaxError, ValueError):
        raise InputError(
            f"cannot read method {text!r}; write a name and fields, such as GDA(shrink=0.2)"
        ) from None
    if call.func.id not in available():
        raise UnknownName("method", call.func.id, available())
    try:
        made: Method = available()[call.func.id](**given)
    except (TypeError, ValueError) as error:
        raise InputError(f"{text}: {error}") from None
    return made
