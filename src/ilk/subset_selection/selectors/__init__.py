"""One file per rule that says which images to keep; files are discovered.

A selector is a frozen dataclass on `ilk.subset_selection.selectors.selector.SelectorTags`.
"""

from __future__ import annotations

from functools import cache
from typing import cast

from ilk.core.registry import find_classes, parse_call
from ilk.subset_selection.selectors.selector import SelectorTags


@cache
def list_selectors() -> dict[str, type[SelectorTags]]:
    """Return the selectors by name, sorted."""
    return find_classes(__name__, SelectorTags, "score")


def parse_selector(text: str) -> SelectorTags:
    """Return the selector that `text` describes, such as `Herding` or `EL2N(hard=True)`.

    Raises:
        UnknownName: There is no such selector; the message suggests the nearest.
        InputError: The arguments are not literals, or it has no such field.
    """
    return cast("SelectorTags", parse_call(text, list_selectors(), "selector"))
