"""Which columns of a table hold paths and labels, and which are left out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ilk.core.errors import InputError
from ilk.core.short_lists import list_first
from ilk.images.annotations.label_values import is_missing, parse_labels
from ilk.images.annotations.split_columns import normalize_column
from ilk.images.rows import escape_path

PATH_COLUMNS = ("path", "file", "file_name", "filename", "image", "filepath", "image_path")
LABEL_COLUMNS: tuple[str, ...] = (
    "label",
    "class",
    "category",
    "target",
    "class_name",
    "label_name",
)
LABEL_COLUMNS += ("species", "breed", "labels", "classes", "diagnosis", "name")
MIN_DISTINCT = 10  # lines from which as many different values are not classes
MAX_SHOWN = 6  # columns in a note
_ROW_NUMBER = re.compile(r"|unnamed:_\d+|__index_level_\d+__|index|id")

Records = Sequence[tuple[int, Sequence[Any]]]  # number of the line, cells


def find_usual(names: Sequence[str], default_names: Sequence[str]) -> int | None:
    """Return the position of the first of `default_names` that is a column."""
    normalized = [name.strip().casefold() for name in names]
    return next((normalized.index(name) for name in default_names if name in normalized), None)


def describe_label_choice(file: str, names: Sequence[str], label: int, used: Sequence[int]) -> str:
    """Return a note if other columns than `label` have usual names of labels, or ""."""
    others = [
        escape_path(name)
        for i, name in enumerate(names)
        if i not in used and name.strip().casefold() in LABEL_COLUMNS
    ]
    if not others:
        return ""
    return (
        f"labels were read from the column {escape_path(names[label])} of {file}; another one "
        f"({', '.join(others[:MAX_SHOWN])}) is read with --label-column (label_column=)"
    )


def describe_unread(
    file: str,
    names: Sequence[str],
    records: Records,
    used: Sequence[int],
    unclear: Sequence[int],
) -> str:
    """Return a note that names the columns which were not read, or "".

    Args:
        file: Name of the table.
        names: Names of the columns.
        records: Number and cells of each line.
        used: Positions of the columns that were read.
        unclear: Positions of columns that may say what is held out.
    """
    unread = [
        i
        for i, name in enumerate(names)
        if i not in used
        and not _ROW_NUMBER.fullmatch(normalize_column(name))
        and any(i < len(cells) and _is_filled(cells[i]) for _, cells in records)
    ]
    if not unread:
        return ""
    text = f"columns of {file} that were not read: {_list_names(names, unread)}"
    held_out = [i for i in unclear if i in unread]
    if held_out:
        name = escape_path(names[held_out[0]])
        text += (
            f"; if {_list_names(names, held_out, ' or ')} says what is held out, read it with "
            f"--split-column (split_column=) {name}, or '{name}:test=VALUE' to say which value is"
        )
    return text


def check_recurring(
    file: str,
    names: Sequence[str],
    records: Records,
    label: int,
    used: Sequence[int],
    labels: Sequence[str | None],
) -> None:
    """Refuse a column of labels in which no value occurs twice, unless the user named it.

    Raises:
        InputError: There are `MIN_DISTINCT` lines or more, each with a label of its own; the
            message names the columns that could be meant.
    """
    known = [name for name in labels if name is not None]
    if len(known) < MIN_DISTINCT or len(set(known)) < len(known):
        return
    others = [i for i in range(len(names)) if i not in used and _may_be_labels(records, i)]
    shown, name = _list_names(names, others), escape_path(names[label])
    hint = f"the labels may be in: {shown}. Name their column" if others else "name another column"
    raise InputError(
        f"every line of {file} has a different value in the column {name!r}, so these are not "
        f"classes; {hint} with label_column= (--label-column), {name!r} if it is meant"
    )


def _may_be_labels(records: Records, column: int) -> bool:
    try:
        labels = [name for name in _list_labels(records, column) if name is not None]
    except InputError:  # of another type
        return False
    return 2 <= len(set(labels)) <= len(labels) // 2


def _list_labels(records: Records, column: int) -> list[str | None]:
    return parse_labels(cells[column] if column < len(cells) else None for _, cells in records)


def _is_filled(cell: Any) -> bool:
    return bool(cell.strip()) if isinstance(cell, str) else not is_missing(cell)


def _list_names(names: Sequence[str], columns: Sequence[int], last: str = ", ") -> str:
    return list_first([escape_path(names[i]) for i in columns], MAX_SHOWN, last)
