"""Projections of features before they are compared, one per file and found by it."""

from __future__ import annotations

from typing import Any

from ilk.core.errors import InputError
from ilk.core.registry import find_classes, parse_call
from ilk.retrieval.vectors.projection import ProjectionTags


def list_projections() -> dict[str, type[Any]]:
    """Return the projections by name, sorted."""
    return find_classes(__name__, ProjectionTags)


def parse_projection(text: str) -> Any:
    """Return the projection that a text describes, such as `Whitening(shrink=0.1)`.

    Raises:
        UnknownName: There is no such projection.
        InputError: Its settings are wrong.
    """
    known = list_projections()
    name, bracket, rest = text.strip().partition("(")
    by_lowercase = {kind.casefold(): kind for kind in known}
    name = by_lowercase.get(name.strip().casefold(), name)
    projection = parse_call(name + bracket + rest, known, "projection")
    shrink = getattr(projection, "shrink", 0.0)
    if not 0 <= shrink <= 1:
        raise InputError(f"{text}: shrink is {shrink}; allowed are 0 to 1")
    return projection
