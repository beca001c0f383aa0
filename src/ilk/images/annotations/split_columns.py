"""Columns of tables that say what is held out: `split`, `is_valid`, `Usage`, and others.

A column is read without being named where its meaning is clear: it has a usual name, and all its
values are names of splits, or it is called `is_test` and holds truth values. Any other column is
left alone and named in a note, because a guess would let a model learn from its test images.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ilk.core.errors import InputError
from ilk.core.short_lists import list_first
from ilk.images.annotations.label_values import parse_labels
from ilk.images.annotations.splits import parse_split
from ilk.images.rows import escape_path

NO_COLUMN = "none"  # reads no column as splits
USUAL_COLUMNS: tuple[str, ...] = ("split", "subset", "set", "partition", "usage", "phase", "fold")
USUAL_COLUMNS += ("dataset", "data_split", "split_name")
MARKS = {  # columns of truth values, such as is_valid
    **dict.fromkeys(("is_train", "is_training", "in_train"), "train"),
    **dict.fromkeys(("is_val", "is_valid", "is_validation", "in_val"), "val"),
    **dict.fromkeys(("is_test", "is_testing", "in_test", "is_holdout"), "test"),
}
VALUES = {  # beside the names of folders
    **dict.fromkeys(("dev", "development"), "val"),
    **dict.fromkeys(("publictest", "privatetest", "holdout", "hold_out", "held_out"), "test"),
}
TRUE, FALSE = ("1", "true", "t", "yes", "y"), ("0", "false", "f", "no", "n")
MAX_SHOWN = 6  # values in a message
MAX_PARTS = 20  # different values in a column that may say what is held out

Splits = list[str]


@dataclass(frozen=True)
class SplitColumns:
    """The split of every line, and where it was read.

    Attributes:
        splits: "train", "val" or "test" of each line; empty if no column was read.
        columns: Positions of the columns that were read.
        unclear: Positions of columns that may hold splits and were not read.
        note: What was read, if the user did not name it; "" otherwise.
    """

    splits: Splits
    columns: tuple[int, ...] = ()
    unclear: tuple[int, ...] = ()
    note: str = ""


def read_split_columns(
    file: str,
    names: Sequence[str],
    records: Sequence[tuple[int, Sequence[Any]]],
    requested: str | None,
    others: Iterable[int | None],
) -> SplitColumns:
    """Find the columns that say what is held out, and return the split of every line.

    Args:
        file: Name of the table in messages.
        names: Names of the columns.
        records: Number and cells of every line.
        requested: What the user gave as `split_column`: a name, or `fold:test=0,val=1`, which says
            what the values mean, those not listed being train; or "none".
        others: Positions of the columns of paths and labels.

    Raises:
        InputError: The requested column is missing or holds something else, or the column `split`
            holds other values than splits.
    """
    if requested is not None:
        return _read_requested(file, names, records, requested)
    taken = {i for i in others if i is not None}
    keys = {
        i: normalize_column(name)
        for i, name in enumerate(names)
        if i not in taken
        and normalize_column(name) in (*USUAL_COLUMNS, *MARKS)
        and _holds_plain_values(records, i)
    }
    usual = sorted(
        (i for i in keys if keys[i] in USUAL_COLUMNS), key=lambda i: USUAL_COLUMNS.index(keys[i])
    )
    marks = {i: MARKS[keys[i]] for i in keys if keys[i] in MARKS}
    candidates = (*usual, *marks)
    for i in usual:
        values = _get_texts(records, i)
        if keys[i] == "split":
            return _report(
                file, names, _read_values(file, names[i], records, values), i, candidates
            )
        if _are_splits(values):
            return _report(file, names, _to_splits(values), i, candidates)
    if marks and (splits := _combine_marks(records, marks)) is not None:
        rest = tuple(i for i in candidates if i not in marks)
        note = _describe(file, [names[i] for i in marks], splits)
        return SplitColumns(splits, tuple(marks), rest, note)
    return SplitColumns([], (), tuple(i for i in candidates if _has_few_values(records, i)))


def normalize_column(name: str) -> str:
    """Return the key that spellings of a column name share: `Is Valid` is `is_valid`."""
    return re.sub(r"[\s-]+", "_", name.strip()).casefold()


def parse_split_value(text: str) -> str | None:
    """Return the split that a cell names, or None.

    >>> [parse_split_value(text) for text in ("Training", "PublicTest", "dev", "3")]
    ['train', 'test', 'val', None]
    """
    return VALUES.get(normalize_column(text)) or parse_split(text)


def _get_texts(records: Sequence[tuple[int, Sequence[Any]]], column: int) -> list[str | None]:
    return parse_labels(cells[column] if column < len(cells) else None for _, cells in records)


def _holds_plain_values(records: Sequence[tuple[int, Sequence[Any]]], column: int) -> bool:
    """Whether all cells are text, numbers, truth values or dates."""
    try:
        _get_texts(records, column)
    except InputError:
        return False
    return True


def _has_few_values(records: Sequence[tuple[int, Sequence[Any]]], column: int) -> bool:
    return 0 < len({text for text in _get_texts(records, column) if text is not None}) <= MAX_PARTS


def _are_splits(values: Sequence[str | None]) -> bool:
    distinct = {value for value in values if value is not None}
    return bool(distinct) and all(parse_split_value(value) for value in distinct)


def _to_splits(values: Sequence[str | None]) -> Splits:
    return ["train" if v is None else parse_split_value(v) or "train" for v in values]


def _report(
    file: str, names: Sequence[str], splits: Splits, column: int, candidates: Sequence[int]
) -> SplitColumns:
    """Return what was read of one column; nothing is said of the column `split`."""
    name = names[column]
    note = "" if normalize_column(name) == "split" else _describe(file, [name], splits)
    return SplitColumns(splits, (column,), tuple(i for i in candidates if i != column), note)


def _read_values(
    file: str,
    name: str,
    records: Sequence[tuple[int, Sequence[Any]]],
    values: Sequence[str | None],
) -> Splits:
    """Return the splits that the cells of one column name.

    Raises:
        InputError: A cell names none.
    """
    for (number, _), value in zip(records, values, strict=True):
        if value is not None and parse_split_value(value) is None:
            raise InputError(
                f"{file}, line {number}: split {escape_path(value)!r} is not known; write train, "
                "val or test, or say which values of the column are held out, with split_column= "
                f"(--split-column {escape_path(name)!r}), such as '{escape_path(name)}:test="
                f"{escape_path(value)}'; '{NO_COLUMN}' reads no splits"
            )
    return _to_splits(values)


def _combine_marks(
    records: Sequence[tuple[int, Sequence[Any]]], marks: Mapping[int, str]
) -> Splits | None:
    """Return the splits that columns of truth values mark together; None if they are unclear.

    They are unclear if a cell is not a truth value, a line has two marks or, where `is_train` is
    false, none of two others; or if most lines are `is_valid`, which may say which lines are sound.
    """
    columns = {i: _get_texts(records, i) for i in marks}
    splits: list[str] = []
    for row in range(len(records)):
        found = set()
        for i, split in marks.items():
            text = (columns[i][row] or "0").casefold()
            if text not in TRUE + FALSE or (columns[i][row] is None and split == "train"):
                return None
            if text in TRUE:
                found.add(split)
        if not found:
            left = {"train", "val", "test"} - set(marks.values())
            found = {"train"} & left or {min(left, default="")}  # not train: test rather than val
        if len(found) > 1 or "" in found:
            return None
        splits += found
    is_doubtful = set(marks.values()) == {"val"}
    return None if is_doubtful and 2 * splits.count("val") > len(splits) else splits


def _read_requested(
    file: str,
    names: Sequence[str],
    records: Sequence[tuple[int, Sequence[Any]]],
    requested: str,
) -> SplitColumns:
    """Return the splits of the column, and by the meaning of its values, that the user gave."""
    stripped = [name.strip() for name in names]
    if requested in names or requested in stripped:
        column = list(names).index(requested) if requested in names else stripped.index(requested)
        return SplitColumns(_read_one(file, names[column], records, column), (column,))
    if requested == NO_COLUMN:
        return SplitColumns([])
    for match in re.finditer(":", requested):
        name, meaning = requested[: match.start()], requested[match.end() :]
        if name in stripped:
            column = stripped.index(name)
            values = _get_texts(records, column)
            return SplitColumns(_map_values(file, name, values, meaning), (column,))
    available = ", ".join(escape_path(name) for name in names) or "none"
    raise InputError(
        f"{file} has no column {requested!r}; its columns are: {available}. Name the one that says "
        f"what is held out with split_column= (--split-column), or {NO_COLUMN!r} to read no splits"
    )


def _read_one(
    file: str, name: str, records: Sequence[tuple[int, Sequence[Any]]], column: int
) -> Splits:
    """Return the splits in the one column that the user named.

    Raises:
        InputError: Its values are neither names of splits nor truth values under a name such as
            `is_valid`.
    """
    values = _get_texts(records, column)
    distinct = {value for value in values if value is not None}
    mark = MARKS.get(normalize_column(name))
    if mark and {value.casefold() for value in distinct} <= {*TRUE, *FALSE}:
        other = "test" if mark == "train" else "train"
        return [mark if (value or "").casefold() in TRUE else other for value in values]
    if distinct and all(parse_split_value(value) for value in distinct):
        return _to_splits(values)
    shown = escape_path(name)
    raise InputError(
        f"column {shown!r} of {file} holds {_format_values(distinct)}, not train, val and test; "
        "say which values are held out, with split_column= (--split-column), such as "
        f"'{shown}:test={escape_path(min(distinct, default='1'))}'"
    )


def _map_values(file: str, name: str, values: Sequence[str | None], meaning: str) -> Splits:
    """Return the splits of values whose meaning the user gave, such as `test=0,val=1`."""
    known: dict[str, str] = {}
    present = {value for value in values if value is not None}
    for part in meaning.split(","):
        split, _, value = part.partition("=")
        parsed, value = parse_split(split.strip(), decorated=False), value.strip()
        if parsed is None or not value:
            raise InputError(
                f"split_column is '{name}:{meaning}'; write what each value means as in "
                f"'{name}:test=0' or '{name}:test=0,val=1' (--split-column); other values are train"
            )
        if value not in present:
            raise InputError(
                f"no cell of column {escape_path(name)!r} of {file} is {value!r}; it holds "
                f"{_format_values(present)}"
            )
        if known.setdefault(value, parsed) != parsed:
            raise InputError(f"split_column gives {value!r} two meanings: {meaning}")
    return ["train" if value is None else known.get(value, "train") for value in values]


def _format_values(values: Iterable[str]) -> str:
    return list_first([escape_path(value) for value in sorted(values)], MAX_SHOWN) or "nothing"


def _describe(file: str, names: Sequence[str], splits: Splits) -> str:
    counts = [(split, splits.count(split)) for split in ("train", "val", "test")]
    if counts[0][1] == len(splits):
        return ""
    shown = ", ".join(f"{n:,} {split}" for split, n in counts if n)
    columns = " and ".join(escape_path(name) for name in names)
    return (
        f"the splits were read from {columns} of {os.path.basename(file)} ({shown}); "
        f"--split-column {NO_COLUMN} (split_column=) ignores them"
    )
