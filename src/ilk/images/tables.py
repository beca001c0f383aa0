"""Read tables and lists of paths: file, label and split of each row."""

from __future__ import annotations

import csv
import json
import os
import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from ilk.core.csv_cells import unprotect
from ilk.core.errors import InputError
from ilk.images.groups import assign_groups, check_any_group, unify_lines
from ilk.images.indicator_columns import find_indicator_columns
from ilk.images.label_columns import (
    OFFER,
    check_single_labels,
    merge_lines,
    parse_indicator_sets,
    parse_sets,
    with_labels,
)
from ilk.images.label_values import is_missing, parse_labels
from ilk.images.rows import Row, escape_path
from ilk.images.split_columns import read_split_columns
from ilk.images.table_columns import (
    LABEL_COLUMNS,
    PATH_COLUMNS,
    check_recurring,
    describe_label_choice,
    describe_unread,
    find_usual,
)
from ilk.images.table_files import TABLE_SUFFIXES, Record, read_any_table, read_text
from ilk.images.text_encoding import decode_windows, describe_decoded, has_undecoded

__all__ = ["LABEL_COLUMNS", "LIST_SUFFIXES", "PATH_COLUMNS", "TABLE_SUFFIXES"]
__all__ += ["Columns", "read_list", "read_records", "read_table"]

LIST_SUFFIXES = (".txt",)

NoteCallback = Callable[[str], None]


def ignore_note(_note: str) -> None:
    """Drop a note, which is "" if there is nothing to say."""


class Columns(NamedTuple):
    """How the user wants a table to be read.

    Attributes:
        path: Column of paths; None selects one of the usual names.
        label: Column of labels; None selects one of the usual names.
        multi_label: Whether an image has a set of labels; None refuses tables that look like it.
        separator: Separator of labels in one cell; None finds it.
        split: Column that says what is held out (see `ilk.images.split_columns`); None finds it.
        group: Column of groups; None reads none.
    """

    path: str | None = None
    label: str | None = None
    multi_label: bool | None = None
    separator: str | None = None
    split: str | None = None
    group: str | None = None

    @property
    def is_given(self) -> bool:
        names = (self.path, self.label, self.separator, self.split, self.group)
        return self.multi_label is True or any(name is not None for name in names)


def read_table(file: Path, columns: Columns, note: NoteCallback = ignore_note) -> list[Row]:
    """Return one row per line of `file`, in its order; an empty label means none.

    Args:
        file: The table.
        columns: Column names given by the user.
        note: Called with each remark on how the table was read.

    Raises:
        InputError: It cannot be read, or has no column of paths or labels.
        Unavailable: It is Parquet and pyarrow is not installed.
    """
    with _report_table_errors(file):
        table = read_any_table(file)
        return read_records(file, table.names, table.records, columns, note, table.is_csv)


@contextmanager
def _report_table_errors(file: Path) -> Iterator[None]:
    """Say in one sentence why a table cannot be read."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"the table {escape_path(file)} cannot be read: {error.strerror or error}"
        ) from error
    except (csv.Error, UnicodeError, json.JSONDecodeError) as error:
        raise InputError(
            f"{escape_path(file)} is not the table that its name says: {error}"
        ) from error


def read_records(
    file: Path,
    names: list[str],
    records: Iterable[Record],
    columns: Columns,
    note: NoteCallback = ignore_note,
    is_csv: bool = False,
) -> list[Row]:
    """Return one row per record of a table, in order; an empty label means none.

    Args:
        file: The table; paths are relative to its folder, and messages name it.
        names: Names of the columns.
        records: Number and cells of each line.
        columns: Column names given by the user.
        note: Called with each remark on how the table was read.
        is_csv: Whether an apostrophe may keep a cell from being run by a spreadsheet.

    Raises:
        InputError: There is no column of paths or labels, or a cell is invalid.
    """
    source = escape_path(file.name)
    records = [record for record in records if not all(map(_is_empty, record[1]))]
    names = [unprotect(decode_windows(name)).strip() for name in names]
    path = _find_column(file, names, "path", PATH_COLUMNS, columns.path)
    records = _decode_cells(source, records, path, note)
    if is_csv:
        records = _unprotect_cells(records, path)
    rows = [_parse_row(file, number, _select_cells(cells, (path,))) for number, cells in records]
    used = [path]
    if columns.group is not None:
        rows, group = _add_groups(file, names, records, rows, columns.group)
        used.append(group)
    label = find_usual(names, LABEL_COLUMNS) if columns.label is None else None
    splits = read_split_columns(escape_path(file), names, records, columns.split, (path, label))
    if splits.splits:
        rows = [replace(row, split=one) for row, one in zip(rows, splits.splits, strict=True)]
    used += splits.columns
    rows = _add_labels(file, names, records, rows, columns, used, note, splits.unclear)
    note(splits.note)
    note(describe_unread(source, names, records, used, splits.unclear))
    return rows


def read_list(file: Path) -> list[Row]:
    """Return one row per line of a text file of paths; blank lines are skipped.

    Raises:
        InputError: It cannot be read.
    """
    try:
        text = read_text(file)
    except (OSError, UnicodeError) as error:
        raise InputError(f"the list {escape_path(file)} cannot be read: {error}") from error
    lines = (line.rstrip("\n") for line in StringIO(text, newline=None))
    return [Row(_to_native_path(line, file.parent)) for line in lines if line.strip()]


def read_paths(
    file: Path, path_column: str | None, group_column: str | None = None
) -> tuple[list[Row], bool]:
    """Return path and group of each line of a table, in order, and whether it also has labels.

    Raises:
        InputError: It cannot be read, or has no column of paths, or none of groups.
        Unavailable: It is Parquet and pyarrow is not installed.
    """
    with _report_table_errors(file):
        table = read_any_table(file)
        names = [name.strip() for name in table.names]
        position = _find_column(file, names, "path", PATH_COLUMNS, path_column)
        records = [record for record in table.records if not all(map(_is_empty, record[1]))]
        rows = [_parse_row(file, n, _select_cells(cells, (position,))) for n, cells in records]
        if group_column is not None:
            rows = _add_groups(file, names, records, rows, group_column)[0]
    return rows, find_usual(names, LABEL_COLUMNS) not in (None, position)


def _add_groups(
    file: Path, names: list[str], records: Sequence[Record], rows: list[Row], column: str
) -> tuple[list[Row], int]:
    """Return the rows with the groups of their lines, and the position of the column."""
    position = _find_column(file, names, "group", (), column)
    values = [_select_cells(cells, (position,))[0] for _, cells in records]
    rows = unify_lines(escape_path(file), assign_groups(rows, values))
    check_any_group(rows, f"column {column!r} of {escape_path(file)}")
    return rows, position


def _add_labels(
    file: Path,
    names: list[str],
    records: list[Record],
    rows: list[Row],
    columns: Columns,
    used: list[int],
    note: NoteCallback,
    unclear: Sequence[int] = (),
) -> list[Row]:
    """Return the rows with the label, or the set of labels, of their lines.

    Args:
        file: The table.
        names: Names of the columns.
        records: Number and cells of each line.
        rows: Paths and splits of the lines.
        columns: Column names given by the user.
        used: Positions of the columns that are read; those of labels are appended.
        note: Called with a remark on the choice of a column.
        unclear: Positions of columns that are no label, although they may hold 0 and 1.
    """
    source, label = escape_path(file), None
    indicators: list[int] = []
    if columns.label is None:
        label = find_usual(names, LABEL_COLUMNS)
        if label is None or columns.multi_label:
            others = (*used, *unclear)
            indicators = find_indicator_columns(names, [cells for _, cells in records], others)
    if label is None and not indicators:
        label = _find_column(file, names, "label", LABEL_COLUMNS, columns.label)
    used += indicators or ([] if label is None else [label])
    if columns.label is None and label is not None and not indicators:
        note(describe_label_choice(escape_path(file.name), names, label, used))
    cells = [_select_label(cells, label, len(names)) for _, cells in records]
    if columns.multi_label:
        numbers = [number for number, _ in records]
        sets = (
            parse_indicator_sets(source, names, records, indicators)
            if indicators
            else parse_sets(source, numbers, cells, columns.separator)
        )
        labelled = [with_labels(row, one) for row, one in zip(rows, sets, strict=True)]
        return merge_lines(labelled)
    if indicators:
        shown = ", ".join(escape_path(names[i]) for i in indicators[:3])
        shown += ", …" if len(indicators) > 3 else ""
        raise InputError(
            f"{source} looks like multi-label: it has no column of labels "
            f"({', '.join(LABEL_COLUMNS)}) and {len(indicators)} columns of 0 and 1 ({shown}); "
            f"{OFFER.partition(',')[0]}, or name the column of classes with label_column= "
            "(--label-column)"
        )
    labels = parse_labels(cells)
    single = [replace(row, label=name) for row, name in zip(rows, labels, strict=True)]
    if columns.multi_label is None:
        check_single_labels(source, cells, single)
    if columns.label is None and label is not None:
        check_recurring(source, names, records, label, used, labels)
    return single


def _select_label(cells: Sequence[Any], label: int | None, n_columns: int) -> Any:
    """Return the cell of the labels; names after unquoted commas become a list."""
    if label is None or label >= len(cells):
        return None
    surplus = [cell for cell in cells[n_columns:] if str(cell).strip()]
    return [cells[label], *surplus] if surplus and label == n_columns - 1 else cells[label]


def _find_column(
    file: Path, names: list[str], what: str, default_names: Sequence[str], requested: str | None
) -> int:
    """Return the position of column `requested`, or of the first of `default_names` present."""
    if requested is not None and requested.strip() in names:
        return names.index(requested.strip())
    if requested is None and (usual := find_usual(names, default_names)) is not None:
        return usual
    available = ", ".join(escape_path(name) for name in names) or "none"
    problem = (
        f"no column {requested!r}"
        if requested
        else f"no column of {what}s ({', '.join(default_names)})"
    )
    raise InputError(
        f"{escape_path(file)} has {problem}; its columns are: {available}. "
        f"Name one with {what}_column= (--{what}-column)"
    )


def _select_cells(cells: Sequence[Any], indices: Sequence[int | None]) -> list[Any]:
    return [None if i is None or i >= len(cells) else cells[i] for i in indices]


def _is_empty(cell: Any) -> bool:
    return not cell.strip() if isinstance(cell, str) else is_missing(cell)


def _unprotect_cells(records: list[Record], path: int) -> list[Record]:
    """Return the records without apostrophes that keep a spreadsheet from running cells."""
    return [
        (n, [unprotect(c) if i != path else c for i, c in enumerate(cells)])
        if "'" in "".join(cells)
        else (n, cells)
        for n, cells in records
    ]


def _decode_cells(
    source: str, records: list[Record], path: int, note: NoteCallback
) -> list[Record]:
    """Return the records with text that is not UTF-8 decoded; paths keep their bytes."""
    pairs: list[tuple[str, str]] = []

    def decode(column: int, cell: Any) -> Any:
        if column == path or not has_undecoded(cell):
            return cell
        pairs.append((cell, decode_windows(cell)))
        return pairs[-1][1]

    decoded: list[Record] = [
        (n, [decode(i, cell) for i, cell in enumerate(cells)])
        if has_undecoded("".join([cell for cell in cells if isinstance(cell, str)]))
        else (n, cells)
        for n, cells in records
    ]
    text = describe_decoded(pairs)
    note(f"{source} {text}" if text else "")
    return decoded if pairs else records


def _parse_row(file: Path, number: int, cells: list[Any]) -> Row:
    (path,) = cells
    if not isinstance(path, str) or not path.strip():
        content = "an image itself" if isinstance(path, dict) else repr(path)
        raise InputError(
            f"{escape_path(file)}, line {number}: {content} where a path should be; "
            "every line needs the path of a file"
        )
    return Row(_to_native_path(path, file.parent))


def _to_native_path(path: str, folder: Path) -> str:
    r"""Convert a path to the form of this system.

    A table made on Windows has `cat\1.png`, others have spaces after commas, another encoding, or
    an apostrophe before `=`; all are valid file names elsewhere, so the path is changed only if no
    such file exists.
    """
    native = path.replace("\\", "/").strip()
    other = unprotect(decode_windows(native))
    if other == path or (os.name != "nt" and os.path.exists(folder / path)):
        return posixpath.normpath(path)
    is_other = other != native and os.path.exists(folder / other)
    return posixpath.normpath(other if is_other else native)
