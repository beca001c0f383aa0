"""Sets of labels in one cell: split them, and recognize columns that hold them.

A cell lists names separated by `;`, `|` or `,`, or is a list (JSONL, Parquet, or its text form).
An empty cell means that the labels are unknown; `none` and the empty list mean that no label
applies.
"""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ilk.core.name_lists import join_names

SEPARATORS = (";", "|", ",")
NO_LABEL = "none"  # a cell for an image that no label applies to
MIN_RECURRING = 0.5  # share of the cells with a separator whose names must recur

LabelSet = tuple[str, ...]


class SeparatorEvidence(NamedTuple):
    """How often a separator occurs in a column, and whether its parts are names of their own.

    Attributes:
        separator: The separator.
        n_cells: Cells that are not empty.
        n_separated: Those that contain the separator.
        n_recurring: Those of `n_separated` whose parts all occur alone or in another combination.
        example: The most frequent cell that contains it.
    """

    separator: str
    n_cells: int
    n_separated: int
    n_recurring: int
    example: str

    @property
    def is_clear(self) -> bool:
        """Whether the parts are labels rather than pieces of class names such as `bear, brown`."""
        return self.n_recurring > 0 and self.n_recurring >= MIN_RECURRING * self.n_separated


def find_separator(cells: Iterable[str]) -> SeparatorEvidence | None:
    """Return the separator with the most evidence; None if no cell contains any."""
    counts = Counter(cell for cell in cells if cell.strip())
    found = [_weigh_separator(counts, separator) for separator in SEPARATORS]
    present = [evidence for evidence in found if evidence.n_separated]
    return max(present, key=lambda e: (e.n_recurring, e.n_separated), default=None)


def _weigh_separator(counts: Counter[str], separator: str) -> SeparatorEvidence:
    """Count the cells that contain a separator, and those made of recurring names."""
    sets = {cell: frozenset(split_names(cell, separator)) for cell in counts}
    separated = [cell for cell in counts if len(sets[cell]) > 1]
    occurrences = Counter(name for names in set(sets.values()) for name in names)
    n_recurring = sum(
        counts[cell] for cell in separated if all(occurrences[name] > 1 for name in sets[cell])
    )
    example = max(separated, key=lambda cell: counts[cell], default="")
    n_separated = sum(counts[cell] for cell in separated)
    return SeparatorEvidence(separator, counts.total(), n_separated, n_recurring, example)


def split_names(cell: str, separator: str | None) -> LabelSet:
    """Return the names in a cell without surrounding spaces, sorted and without duplicates."""
    parts = [cell] if separator is None else cell.split(separator)
    return tuple(sorted({part.strip() for part in parts if part.strip()}))


def parse_list(value: Any) -> list[Any] | None:
    """Return a list, or text that is one (`['cat', 'dog']`), as a list; None for other values."""
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    if getattr(value, "ndim", None) == 1 and hasattr(value, "tolist"):  # of NumPy, as pandas reads
        return list(value.tolist())
    if not (isinstance(value, str) and value.strip()[:1] == "[" and value.strip()[-1:] == "]"):
        return None
    for parse in (json.loads, ast.literal_eval):
        try:
            parsed = parse(value.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        return parsed if isinstance(parsed, list) else None
    return None


def parse_label_set(value: Any, separator: str | None) -> LabelSet | None:
    """Return the labels in a cell, sorted; None if they are unknown.

    Args:
        value: Text, a list, or None.
        separator: Separator of the names in text; None takes text as one name.

    Raises:
        ValueError: The cell says `none` and names a label as well.
    """
    items = parse_list(value)
    if items is not None:
        if not items:
            return ()
        names = tuple(sorted({str(item).strip() for item in items if _is_name(item)}))
    elif not _is_name(value):
        return None
    else:
        names = split_names(str(value), separator)
    if not names:
        return None
    is_none = [name.casefold() == NO_LABEL for name in names]
    if all(is_none):
        return ()
    if any(is_none):
        raise ValueError(f"{value!r} names a label and {NO_LABEL!r} (no label applies)")
    return names


def _is_name(value: Any) -> bool:
    return value is not None and value == value and bool(str(value).strip())


def format_label_set(names: Sequence[str]) -> str:
    """Return a set of labels as text, such as `cat; dog`, and `none` for the empty set.

    It is a JSON list if a name holds a semicolon.
    """
    return join_names(names, "; ") or NO_LABEL
