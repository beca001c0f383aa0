"""Read tables and lists of paths: file, label and split of each row."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from pathlib import Path

from ilk.core.csv_cells import unprotect
from ilk.core.errors import InputError
from ilk.images.annotations.groups import assign_groups, check_any_group, unify_lines
from ilk.images.annotations.split_columns import read_split_columns
from ilk.images.rows import Row, escape_path
from ilk.images.tables.cells import (
    decode_cells,
    is_empty,
    parse_row,
    select_cells,
    to_native_path,
    unprotect_cells,
)
from ilk.images.tables.columns import (
    LABEL_COLUMNS,
    PATH_COLUMNS,
    describe_unread,
    find_usual,
)
from ilk.images.tables.files import TABLE_SUFFIXES, Record, read_any_table, read_text
from ilk.images.tables.labels import add_labels
from ilk.images.tables.requested_columns import Columns, NoteCallback, find_column, ignore_note
from ilk.images.tables.text_encoding import decode_windows

__all__ = ["LABEL_COLUMNS", "LIST_SUFFIXES", "PATH_COLUMNS", "TABLE_SUFFIXES"]
__all__ += ["Columns", "read_list", "read_records", "read_table"]

LIST_SUFFIXES = (".txt",)


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
    records = [record for record in records if not all(map(is_empty, record[1]))]
    names = [unprotect(decode_windows(name)).strip() for name in names]
    path = find_column(file, names, "path", PATH_COLUMNS, columns.path)
    records = decode_cells(source, records, path, note)
    if is_csv:
        records = unprotect_cells(records, path)
    rows = [parse_row(file, number, select_cells(cells, (path,))) for number, cells in records]
    used = [path]
    if columns.group is not None:
        rows, group = _add_groups(file, names, records, rows, columns.group)
        used.append(group)
    label = find_usual(names, LABEL_COLUMNS) if columns.label is None else None
    splits = read_split_columns(escape_path(file), names, records, columns.split, (path, label))
    if splits.splits:
        rows = [replace(row, split=one) for row, one in zip(rows, splits.splits, strict=True)]
    used += splits.columns
    rows = add_labels(file, names, records, rows, columns, used, note, splits.unclear)
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
    return [Row(to_native_path(line, file.parent)) for line in lines if line.strip()]


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
        position = find_column(file, names, "path", PATH_COLUMNS, path_column)
        records = [record for record in table.records if not all(map(is_empty, record[1]))]
        rows = [parse_row(file, n, select_cells(cells, (position,))) for n, cells in records]
        if group_column is not None:
            rows = _add_groups(file, names, records, rows, group_column)[0]
    return rows, find_usual(names, LABEL_COLUMNS) not in (None, position)


def _add_groups(
    file: Path, names: list[str], records: Sequence[Record], rows: list[Row], column: str
) -> tuple[list[Row], int]:
    """Return the rows with the groups of their lines, and the position of the column."""
    position = find_column(file, names, "group", (), column)
    values = [select_cells(cells, (position,))[0] for _, cells in records]
    rows = unify_lines(escape_path(file), assign_groups(rows, values))
    check_any_group(rows, f"column {column!r} of {escape_path(file)}")
    return rows, position
