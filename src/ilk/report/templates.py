"""The templates of the pages, with every value escaped."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from ilk.report.words import (
    bare,
    between,
    count,
    level,
    percent,
    plain,
    spoken,
    with_range,
    wrapped,
)


def filled(name: str, **values: Any) -> str:
    """The page `name` of this folder, in the style of all; its text is fit for UTF-8."""
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
        loader=FunctionLoader(_part),
    )
    words = (bare, between, count, level, percent, with_range)
    environment.filters.update(spoken=spoken, wrapped=wrapped)
    environment.globals.update({word.__name__: word for word in words})
    return environment.get_template(name).render(style=Markup(_part("style.css")), **values)


def _part(name: str) -> str:
    return files("ilk.report").joinpath(name).read_text("utf-8")


def _shown(value: Any) -> Any:
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value
