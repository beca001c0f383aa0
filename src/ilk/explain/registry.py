"""The explainers, found by file."""

from __future__ import annotations

from functools import cache
from typing import Any

from ilk.core.contracts import describe
from ilk.core.errors import UnknownName
from ilk.core.registry import find_classes, parse_call
from ilk.explain.contract import ExplainerTags

PACKAGE = "ilk.explain.explainers"
AUTO = "auto"


@cache
def list_explainers() -> dict[str, type[Any]]:
    """Return the class of every explainer by its name, such as `grad-cam`, sorted."""
    classes = find_classes(PACKAGE, ExplainerTags, verb="explain")
    return dict(sorted((kind.name, kind) for kind in classes.values()))


def parse_explainer(text: str) -> Any:
    """Return the explainer that `text` names: `rise`, `Rise` or `Rise(n_masks=2000)`.

    Raises:
        UnknownName: There is none of that name; the message suggests the nearest.
        InputError: It has no such setting.
    """
    by_name = list_explainers()
    if text in by_name:
        return by_name[text]()
    classes = {kind.__name__: kind for kind in by_name.values()}
    if text.partition("(")[0].strip() in classes:
        return parse_call(text, classes, "explainer")
    raise UnknownName("explainer", text, (AUTO, *by_name))


def describe_explainer(explainer: Any) -> str:
    """Return its name, and its settings where they differ from the defaults."""
    settings = describe(explainer).partition("(")[2].rstrip(")")
    return f"{explainer.name}({settings})" if settings else str(explainer.name)
