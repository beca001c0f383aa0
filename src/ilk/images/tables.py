"""Tables and lists of paths: which file, which label, which part."""

from __future__ import annotations

import csv
import json
import os
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from ilk.errors import InputError, Unavailable
from ilk.images.rows import Row, shown

PATH_NAMES = ("path", "file", "file_name", "filename", "image", "filepath", "image_path")
LABEL_NAMES = ("label", "class", "category", "target", "name")
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
LISTS = (".txt",)

Record = tuple[int, Sequence[Any]]  # number of the line, cells


class Columns(NamedTuple):
    """The columns that a person named; None means one of the usual names."""

    path: str | None = None
    label: str | None = None

    @property
    def told(self) -> bool:
        return self != Columns()


class _Table(NamedTuple):
    names: list[str]
    records: Iterable[Record]


def read_table(file: Path, columns: Columns) -> list[Row]:
    """A row a line of `file`, in its order; an empty label is no label.

    Raises:
        InputError: It cannot be read, or has no column of paths or labels.
        Unavailable: It is Parquet and pyarrow is not installed.
    """
    try:
        table = _table(file)
        at = _find(file, table.names, "path", PATH_NAMES, columns.path)
        label = _find(file, table.names, "label", LABEL_NAMES, columns.label)
        split = next((i for i, n in enumerate(table.names) if _plain(n) == "split"), None)
        wanted = (at, label, split)
        return [_row(file, number, _pick(cells, wanted)) for number, cells in table.records]
    except OSError as error:
        raise InputError(
            f"the table {shown(file)} cannot be read: {error.strerror or error}"
        ) from error
    except (csv.Error, UnicodeError, json.JSONDecodeError) as error:
        raise InputError(f"{shown(file)} is not the table that its name says: {error}") from error


def read_list(file: Path) -> list[Row]:
    """A row a line of a text file of paths; blank lines do not count.

    Raises:
        InputError: It cannot be read.
    """
    try:
        text = _text(file)
    except (OSError, UnicodeError) as error:
        raise InputError(f"the list {shown(file)} cannot be read: {error}") from error
    lines = (line.rstrip("\n") for line in StringIO(text, newline=None))
    return [Row(_native(line, file.parent)) for line in lines if line.strip()]


def label_of(value: Any) -> str | None:
    """A cell or an item of `labels` as a class name; None where it is empty."""
    if value is None or value != value:  # a missing number in a Parquet column is nan
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # whole numbers with gaps come as floats
    return str(value) if str(value).strip() else None


def _find(file: Path, names: list[str], what: str, usual: Sequence[str], told: str | None) -> int:
    """Position of the column called `told`, else of the first of the `usual` names."""
    if told is not None and told in names:
        return names.index(told)
    plain = [_plain(name) for name in names]
    for name in usual if told is None else ():
        if name in plain:
            return plain.index(name)
    there = ", ".join(shown(name) for name in names) or "none"
    looked = f"no column {told!r}" if told else f"no column of {what}s ({', '.join(usual)})"
    raise InputError(
        f"{shown(file)} has {looked}; its columns are: {there}. "
        f"Name one with {what}_column= (--{what}-column)"
    )


def _plain(name: str) -> str:
    return name.strip().casefold()


def _pick(cells: Sequence[Any], wanted: Sequence[int | None]) -> list[Any]:
    return [None if i is None or i >= len(cells) else cells[i] for i in wanted]


def _row(file: Path, number: int, cells: list[Any]) -> Row:
    path, label, split = cells
    if not isinstance(path, str) or not path.strip():
        held = "an image itself" if isinstance(path, dict) else repr(path)
        raise InputError(
            f"{shown(file)}, line {number}: {held} where a path should be; "
            "every line needs the path of a file"
        )
    part = SPLITS.get(_plain(str(split))) if label_of(split) is not None else "train"
    if part is None:
        raise InputError(
            f"{shown(file)}, line {number}: split {split!r} is not known; write train, val or test"
        )
    return Row(_native(path, file.parent), label_of(label), part)


def _native(path: str, folder: Path) -> str:
    r"""A path as this system has it.

    A table made on Windows says `cat\1.png`, a careless one has spaces after its commas; either
    could be a name elsewhere, so it is changed only where no such file is.
    """
    other = path.replace("\\", "/").strip()
    if other != path and (os.name == "nt" or not os.path.exists(folder / path)):
        path = other
    return posixpath.normpath(path)


def _table(file: Path) -> _Table:
    match file.suffix.casefold():
        case ".parquet":
            return _parquet(file)
        case ".jsonl" | ".ndjson":
            return _json_lines(file)
        case suffix:
            return _csv(file, "\t" if suffix == ".tsv" else None)


def _text(file: Path) -> str:
    """Text in UTF-8 or, if its mark says so, UTF-16; other bytes stay what they are (PEP 383)."""
    data = file.read_bytes()
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16")
    return data.decode("utf-8-sig", "surrogateescape")


def _csv(file: Path, delimiter: str | None) -> _Table:
    text = _text(file)
    head = text.partition("\n")[0]
    comma = delimiter or max(",;\t", key=head.count)  # a comma if there is none of them
    reader = csv.reader(StringIO(text, newline=""), delimiter=comma, strict=True)
    names = next(reader, [])
    return _Table(names, ((reader.line_num, cells) for cells in reader if cells))


def _json_lines(file: Path) -> _Table:
    found = list(_objects(file))
    names = list(dict.fromkeys(name for _, one in found for name in one))
    return _Table(names, ((number, [one.get(name) for name in names]) for number, one in found))


def _objects(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(_text(file).split("\n"), 1):
        if not line.strip():
            continue
        try:
            one = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{shown(file)}, line {number}: no JSON ({error})") from error
        if not isinstance(one, dict):
            raise InputError(f"{shown(file)}, line {number}: not an object with named fields")
        yield number, one


def _parquet(file: Path) -> _Table:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise Unavailable(
            f"{shown(file)} is Parquet, which needs pyarrow: pip install 'ilk[parquet]'"
        ) from error
    try:
        table = parquet.read_table(file)
    except pyarrow.ArrowException as error:
        raise InputError(f"{shown(file)} cannot be read as Parquet: {error}") from error
    columns = [column.to_pylist() for column in table.columns]
    return _Table(list(table.column_names), enumerate(zip(*columns, strict=True), 1))
