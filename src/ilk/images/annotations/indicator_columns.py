"""Tables with one column per label: 1 (true) where the label applies and 0 (false) where not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ilk.images.annotations.label_sets import LabelSet

MIN_COLUMNS = 2  # a single column of 0 and 1 is a column of two classes
_VALUES = {"1": 1, "true": 1, "0": 0, "false": 0, "-1": -1, "": None}

Cells = Sequence[Any]


def parse_indicator(value: Any) -> int | None:
    """Return 1, 0 or -1; None for an empty cell.

    Raises:
        KeyError: The cell holds something else.
    """
    if value is None or value != value:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip().casefold()
    return _VALUES[text.removesuffix(".0")]


def find_indicator_columns(
    names: Sequence[str], records: Sequence[Cells], others: Iterable[int | None]
) -> list[int]:
    """Return the positions of the columns that hold only 0 and 1, at least one of them 1.

    Args:
        names: Column names.
        records: Cells of every line.
        others: Positions of the columns of paths and splits.

    Returns:
        The positions; empty if there are fewer than two.
    """
    skipped = set(others)
    columns = [
        i
        for i, name in enumerate(names)
        if i not in skipped and name.strip() and _is_indicator(records, i)
    ]
    return columns if len(columns) >= MIN_COLUMNS else []


def _is_indicator(records: Sequence[Cells], column: int) -> bool:
    try:
        values = {parse_indicator(cells[column]) for cells in records if column < len(cells)}
    except KeyError:
        return False
    return 1 in values


def check_signs(records: Sequence[Cells], columns: Sequence[int]) -> None:
    """Refuse tables in which -1 could mean "no" or "uncertain".

    Raises:
        ValueError: The columns hold 0 and -1.
    """
    values = {parse_indicator(cells[c]) for cells in records for c in columns if c < len(cells)}
    if {0, -1} <= values:
        raise ValueError(
            "the label columns hold 1, 0 and -1, so it is unclear whether -1 means no or unknown; "
            "write 0 for no, and leave out lines whose labels are unknown"
        )


def parse_indicators(names: Sequence[str], cells: Cells, columns: Sequence[int]) -> LabelSet | None:
    """Return the names of the columns that apply, sorted; None if all cells are empty.

    Raises:
        ValueError: Some cells are empty and others are not.
    """
    values = [parse_indicator(cells[c]) if c < len(cells) else None for c in columns]
    empty = [names[c] for c, value in zip(columns, values, strict=True) if value is None]
    if len(empty) == len(columns):
        return None
    if empty:
        raise ValueError(
            f"column {empty[0]!r} is empty and others are not; write 0 or 1 in every label column, "
            "or leave all of them empty for an image whose labels are unknown"
        )
    return tuple(sorted(names[c] for c, v in zip(columns, values, strict=True) if v == 1))
