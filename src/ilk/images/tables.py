"""Read tables and lists of paths: file, label and split of each row."""

from __future__ import annotations

import csv
import json
import os
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any, NamedTuple

from ilk.core.errors import InputError, Unavailable
from ilk.images.indicator_columns import find_indicator_columns
from ilk.images.label_columns import (
    OFFER,
    check_single_labels,
    merge_lines,
    parse_indicator_sets,
    parse_label,
    parse_sets,
    with_labels,
)
from ilk.images.rows import Row, escape_path
from ilk.images.splits import SPLIT_NAMES

PATH_COLUMNS = ("path", "file", "file_name", "filename", "image", "filepath", "image_path")
LABEL_COLUMNS = ("label", "class", "category", "target", "name")
TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
LIST_SUFFIXES = (".txt",)

Record = tuple[int, Sequence[Any]]  # number of the line, cells


class Columns(NamedTuple):
    """How the user wants a table to be read.

    Attributes:
        path: Column of paths; None selects one of the usual names.
        label: Column of labels; None selects one of the usual names.
        multi_label: Whether an image has a set of labels; None refuses tables that look like it.
        separator: Separator of labels in one cell; None finds it.
    """

    path: str | None = None
    label: str | None = None
    multi_label: bool | None = None
    separator: str | None = None

    @property
    def is_given(self) -> bool:
        return self.multi_label is True or not (self.path is self.label is self.separator is None)


class _Table(NamedTuple):
    names: list[str]
    records: Iterable[Record]


def read_table(file: Path, columns: Columns) -> list[Row]:
    """Return one row per line of `file`, in its order; an empty label means none.

    Raises:
        InputError: It cannot be read, or has no column of paths or labels.
        Unavailable: It is Parquet and pyarrow is not installed.
    """
    with _report_table_errors(file):
        table = _read_any_table(file)
        return read_records(file, table.names, table.records, columns)


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
    file: Path, names: list[str], records: Iterable[Record], columns: Columns
) -> list[Row]:
    """Return one row per record of a table, in order; an empty label means none.

    Args:
        file: The table; paths are relative to its folder, and messages name it.
        names: Names of the columns.
        records: Number and cells of each line.
        columns: Column names given by the user.

    Raises:
        InputError: There is no column of paths or labels, or a cell is invalid.
    """
    records = list(records)
    path = _find_column(file, names, "path", PATH_COLUMNS, columns.path)
    split = next((i for i, n in enumerate(names) if _normalize(n) == "split"), None)
    rows = [
        _parse_row(file, number, _select_cells(cells, (path, None, split)))
        for number, cells in records
    ]
    return _add_labels(file, names, records, rows, columns, (path, split))


def read_list(file: Path) -> list[Row]:
    """Return one row per line of a text file of paths; blank lines are skipped.

    Raises:
        InputError: It cannot be read.
    """
    try:
        text = _read_text(file)
    except (OSError, UnicodeError) as error:
        raise InputError(f"the list {escape_path(file)} cannot be read: {error}") from error
    lines = (line.rstrip("\n") for line in StringIO(text, newline=None))
    return [Row(_to_native_path(line, file.parent)) for line in lines if line.strip()]


def read_paths(file: Path, path_column: str | None) -> tuple[list[str], bool]:
    """Return the paths of a table, one per line and in order, and whether it also has labels.

    Raises:
        InputError: It cannot be read, or has no column of paths.
        Unavailable: It is Parquet and pyarrow is not installed.
    """
    with _report_table_errors(file):
        table = _read_any_table(file)
        position = _find_column(file, table.names, "path", PATH_COLUMNS, path_column)
        paths = [
            _parse_row(file, number, [*_select_cells(cells, (position,)), None, None]).path
            for number, cells in table.records
        ]
    return paths, _find_usual(table.names, LABEL_COLUMNS) not in (None, position)


def _add_labels(
    file: Path,
    names: list[str],
    records: list[Record],
    rows: list[Row],
    columns: Columns,
    others: tuple[int, int | None],
) -> list[Row]:
    """Return the rows with the label, or the set of labels, of their lines."""
    source, label = escape_path(file), None
    indicators: list[int] = []
    if columns.label is None:
        label = _find_usual(names, LABEL_COLUMNS)
        if label is None or columns.multi_label:
            indicators = find_indicator_columns(names, [cells for _, cells in records], others)
    if label is None and not indicators:
        label = _find_column(file, names, "label", LABEL_COLUMNS, columns.label)
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
    single = [replace(row, label=parse_label(c)) for row, c in zip(rows, cells, strict=True)]
    if columns.multi_label is None:
        check_single_labels(source, cells, single)
    return single


def _find_usual(names: list[str], default_names: Sequence[str]) -> int | None:
    """Return the position of the first of `default_names` that is a column."""
    normalized = [_normalize(name) for name in names]
    return next((normalized.index(name) for name in default_names if name in normalized), None)


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
    if requested is not None and requested in names:
        return names.index(requested)
    if requested is None and (usual := _find_usual(names, default_names)) is not None:
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


def _normalize(name: str) -> str:
    return name.strip().casefold()


def _select_cells(cells: Sequence[Any], indices: Sequence[int | None]) -> list[Any]:
    return [None if i is None or i >= len(cells) else cells[i] for i in indices]


def _parse_row(file: Path, number: int, cells: list[Any]) -> Row:
    path, _, split = cells
    if not isinstance(path, str) or not path.strip():
        content = "an image itself" if isinstance(path, dict) else repr(path)
        raise InputError(
            f"{escape_path(file)}, line {number}: {content} where a path should be; "
            "every line needs the path of a file"
        )
    part = SPLIT_NAMES.get(_normalize(str(split))) if parse_label(split) is not None else "train"
    if part is None:
        raise InputError(
            f"{escape_path(file)}, line {number}: split {split!r} is not known; "
            "write train, val or test"
        )
    return Row(_to_native_path(path, file.parent), split=part)


def _to_native_path(path: str, folder: Path) -> str:
    r"""Convert a path to the form of this system.

    A table made on Windows has `cat\1.png`, others have spaces after commas; both are valid file
    names elsewhere, so the path is changed only if no such file exists.
    """
    other = path.replace("\\", "/").strip()
    if other != path and (os.name == "nt" or not os.path.exists(folder / path)):
        path = other
    return posixpath.normpath(path)


def _read_any_table(file: Path) -> _Table:
    match file.suffix.casefold():
        case ".parquet":
            return _read_parquet(file)
        case ".jsonl" | ".ndjson":
            return _read_json_lines(file)
        case suffix:
            return _read_csv(file, "\t" if suffix == ".tsv" else None)


def _read_text(file: Path) -> str:
    """Decode UTF-8 or, with a byte order mark, UTF-16; other bytes become surrogates (PEP 383)."""
    data = file.read_bytes()
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16")
    return data.decode("utf-8-sig", "surrogateescape")


def _read_csv(file: Path, delimiter: str | None) -> _Table:
    text = _read_text(file)
    head = text.partition("\n")[0]
    comma = delimiter or max(",;\t", key=head.count)  # a comma if there is none of them
    reader = csv.reader(StringIO(text, newline=""), delimiter=comma, strict=True)
    names = next(reader, [])
    return _Table(names, ((reader.line_num, cells) for cells in reader if cells))


def _read_json_lines(file: Path) -> _Table:
    records = list(_iter_objects(file))
    names = list(dict.fromkeys(name for _, one in records for name in one))
    return _Table(
        names, ((number, [record.get(name) for name in names]) for number, record in records)
    )


def _iter_objects(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(_read_text(file).split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{escape_path(file)}, line {number}: no JSON ({error})") from error
        if not isinstance(record, dict):
            raise InputError(f"{escape_path(file)}, line {number}: not an object with named fields")
        yield number, record


def _read_parquet(file: Path) -> _Table:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise Unavailable(
            f"{escape_path(file)} is Parquet, which needs pyarrow: pip install 'ilk[parquet]'"
        ) from error
    try:
        table = parquet.read_table(BytesIO(file.read_bytes()))
    except pyarrow.ArrowException as error:
        raise InputError(f"{escape_path(file)} cannot be read as Parquet: {error}") from error
    columns = [column.to_pylist() for column in table.columns]
    return _Table(list(table.column_names), enumerate(zip(*columns, strict=True), 1))
