"""Files of tables as names and lines of cells: CSV, TSV, JSON lines and Parquet."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any, NamedTuple

from ilk.core.errors import InputError, Unavailable
from ilk.images.rows import escape_path
from ilk.images.tables.text_encoding import decode_text

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\r?\n', re.IGNORECASE)  # as Excel writes and reads

Record = tuple[int, Sequence[Any]]  # number of the line, cells


class Table(NamedTuple):
    """Names of the columns, the lines with their numbers, and whether it is CSV or TSV."""

    names: list[str]
    records: Iterable[Record]
    is_csv: bool = False


def read_any_table(file: Path) -> Table:
    """Read a table in the format that its suffix names.

    Raises:
        InputError, OSError, csv.Error, UnicodeError: It cannot be read, or is not such a table.
        Unavailable: It is Parquet and pyarrow is not installed.
    """
    match file.suffix.casefold():
        case ".parquet":
            return _read_parquet(file)
        case ".jsonl" | ".ndjson":
            return _read_json_lines(file)
        case suffix:
            return _read_csv(file, "\t" if suffix == ".tsv" else None)


def read_text(file: Path) -> str:
    """Return the text of a file; bytes that are not UTF-8 become surrogates (PEP 383)."""
    return decode_text(file.read_bytes())


def _read_csv(file: Path, delimiter: str | None) -> Table:
    text, skipped = read_text(file), 0
    if match := SEPARATOR_LINE.match(text):
        text, delimiter, skipped = text[match.end() :], match[1], 1
    if delimiter is None:
        head = re.sub(r'"[^"]*"', "", text).partition("\n")[0]
        delimiter = max(",;\t", key=head.count)  # a comma if there is none of them
    mark = re.escape(delimiter)
    has_spaces = re.match(rf"[^\n]*{mark} +[^\n]", text) or re.search(rf'{mark} +"', text)
    reader = csv.reader(
        StringIO(text, newline=""),
        delimiter=delimiter,
        strict=True,
        skipinitialspace=bool(has_spaces) and delimiter != " ",
    )
    names = next(reader, [])
    lines = ((reader.line_num + skipped, cells) for cells in reader if cells)
    return Table(names, lines, is_csv=True)


def _read_json_lines(file: Path) -> Table:
    records = list(_iter_objects(file))
    names = list(dict.fromkeys(name for _, one in records for name in one))
    return Table(
        names, ((number, [record.get(name) for name in names]) for number, record in records)
    )


def _iter_objects(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(read_text(file).split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{escape_path(file)}, line {number}: no JSON ({error})") from error
        if not isinstance(record, dict):
            raise InputError(f"{escape_path(file)}, line {number}: not an object with named fields")
        yield number, record


def _read_parquet(file: Path) -> Table:
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
    return Table(list(table.column_names), enumerate(zip(*columns, strict=True), 1))
