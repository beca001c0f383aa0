"""Read tables and lists of paths: file, label and split of each row."""

from __future__ import annotations

import csv
import json
import os
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from ilk.core.errors import InputError, Unavailable
from ilk.images.rows import Row, escape_path
from ilk.images.splits import SPLIT_NAMES

PATH_COLUMNS = ("path", "file", "file_name", "filename", "image", "filepath", "image_path")
LABEL_COLUMNS = ("label", "class", "category", "target", "name")
TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
LIST_SUFFIXES = (".txt",)

Record = tuple[int, Sequence[Any]]  # number of the line, cells


class Columns(NamedTuple):
    """Column names given by the user; None selects one of the usual names."""

    path: str | None = None
    label: str | None = None

    @property
    def is_given(self) -> bool:
        return self != Columns()


class _Table(NamedTuple):
    names: list[str]
    records: Iterable[Record]


def read_table(file: Path, columns: Columns) -> list[Row]:
    """Return one row per line of `file`, in its order; an empty label means none.

    Raises:
        InputError: It cannot be read, or has no column of paths or labels.
        Unavailable: It is Parquet and pyarrow is not installed.
    """
    try:
        table = _read_any_table(file)
        path = _find_column(file, table.names, "path", PATH_COLUMNS, columns.path)
        label = _find_column(file, table.names, "label", LABEL_COLUMNS, columns.label)
        split = next((i for i, n in enumerate(table.names) if _normalize(n) == "split"), None)
        indices = (path, label, split)
        return [
            _parse_row(file, number, _select_cells(cells, indices))
            for number, cells in table.records
        ]
    except OSError as error:
        raise InputError(
            f"the table {escape_path(file)} cannot be read: {error.strerror or error}"
        ) from error
    except (csv.Error, UnicodeError, json.JSONDecodeError) as error:
        raise InputError(
            f"{escape_path(file)} is not the table that its name says: {error}"
        ) from error


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


def parse_label(value: Any) -> str | None:
    """Convert a cell or an item of `labels` to a class name; None if it is empty."""
    if value is None or value != value:  # a missing number in a Parquet column is nan
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # whole numbers with gaps come as floats
    return str(value) if str(value).strip() else None


def _find_column(
    file: Path, names: list[str], what: str, default_names: Sequence[str], requested: str | None
) -> int:
    """Return the position of column `requested`, or of the first of `default_names` present."""
    if requested is not None and requested in names:
        return names.index(requested)
    normalized = [_normalize(name) for name in names]
    for name in default_names if requested is None else ():
        if name in normalized:
            return normalized.index(name)
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
    path, label, split = cells
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
    return Row(_to_native_path(path, file.parent), parse_label(label), part)


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
        table = parquet.read_table(file)
    except pyarrow.ArrowException as error:
        raise InputError(f"{escape_path(file)} cannot be read as Parquet: {error}") from error
    columns = [column.to_pylist() for column in table.columns]
    return _Table(list(table.column_names), enumerate(zip(*columns, strict=True), 1))
