"""Methods that condense a set of images, one file each: dataclasses found by their file."""

from __future__ import annotations

from ilk.core.registry import find_classes, parse_call
from ilk.subset_selection.foundations.problem import CondensationTags


def list_condensation_methods() -> dict[str, type[CondensationTags]]:
    """Return the method of each file in this folder, by class name, sorted."""
    return find_classes(__name__, CondensationTags, "condense")


def parse_condensation_method(text: str) -> CondensationTags:
    """Return the method that a text names, such as `DCC` or `DCC(inner=5)`.

    Raises:
        UnknownName, InputError: There is no such method, or it has no such field.
    """
    method: CondensationTags = parse_call(text, list_condensation_methods(), "condensation method")
    return method
