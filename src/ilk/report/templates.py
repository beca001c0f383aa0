"""Load and render the HTML templates; every value is escaped."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from ilk.report.formatting import (
    escape_text,
    format_count,
    format_interval,
    format_level,
    format_percent,
    format_percent_value,
    format_sentence,
    format_with_interval,
    wrap_path,
)


def render_template(name: str, **values: Any) -> str:
    """Render the template `name` of this folder; the result can be encoded as UTF-8."""
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_escape_value,
        loader=FunctionLoader(_read_template),
    )
    formatters = (
        format_percent_value,
        format_interval,
        format_count,
        format_level,
        format_percent,
        format_with_interval,
    )
    environment.filters.update(sentence=format_sentence, wrap_path=wrap_path)
    environment.globals.update({function.__name__: function for function in formatters})
    return environment.get_template(name).render(
        style=Markup(_read_template("style.css")), **values
    )


def _read_template(name: str) -> str:
    return files("ilk.report").joinpath(name).read_text("utf-8")


def _escape_value(value: Any) -> Any:
    return escape_text(value) if isinstance(value, str) and not isinstance(value, Markup) else value
