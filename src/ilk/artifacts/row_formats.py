"""Write rows of predictions as CSV, TSV, JSON, JSON lines or Parquet, by the suffix of the file."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Literal

from ilk.artifacts.row_file import open_rows
from ilk.core.atomic_write import write_atomically
from ilk.core.errors import InputError, OutputError, Unavailable

SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")

ColumnType = Literal["text", "texts", "number", "truth"]
Row = dict[str, Any]  # plain values; missing ones are None


def check_suffix(path: Path) -> str:
    """Return the suffix of an output file.

    Raises:
        InputError: The suffix is not supported.
    """
    if (suffix := path.suffix.lower()) not in SUFFIXES:
        raise InputError(f"the suffix of {path} must be one of {', '.join(SUFFIXES)}")
    return suffix


def write_rows(
    rows: Iterable[Row],
    path: Path,
    format_csv: Callable[[Iterable[Row], str], Iterator[str]],
    list_columns: Callable[[list[Row]], Mapping[str, ColumnType]],
) -> None:
    """Write rows in the given order, in the format that the suffix of `path` indicates.

    Rows of CSV, TSV and JSON lines are written as they come (`ilk.artifacts.row_file`). File names
    that are not valid UTF-8 keep their bytes in CSV and are escaped in JSON and Parquet.

    Args:
        rows: The rows.
        path: The file.
        format_csv: Returns the lines of rows and a delimiter, the header included.
        list_columns: Returns the columns of a Parquet table of these rows, with their types.

    Raises:
        InputError: The suffix is not supported.
        OutputError: The file cannot be written.
        Unavailable: The format is Parquet, and pyarrow is not installed.
    """
    suffix = check_suffix(path)
    if suffix == ".parquet":
        write_atomically(path, _encode_parquet(rows, list_columns))
    elif suffix == ".json":
        text = json.dumps(list(rows), indent=1) + "\n"
        write_atomically(path, text.encode("utf-8", "surrogateescape"))
    else:
        lines = (
            (json.dumps(row) + "\n" for row in rows)
            if suffix == ".jsonl"
            else format_csv(rows, "\t" if suffix == ".tsv" else ",")
        )
        with open_rows(path) as write:
            for line in lines:
                write(line)


def write_lines(lines: Iterable[str], out: IO[str]) -> None:
    """Write lines to an open stream, as they arrive."""
    for line in lines:
        out.write(line)
        out.flush()


def _escape(value: Any) -> Any:
    """Escape bytes that are not valid UTF-8, such as `\\udce9`."""
    if isinstance(value, list):
        return [_escape(item) for item in value]
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _encode_parquet(
    rows: Iterable[Row], list_columns: Callable[[list[Row]], Mapping[str, ColumnType]]
) -> bytes:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise Unavailable(
            "writing Parquet requires pyarrow; run: pip install 'ilk[parquet]', "
            "or write .csv or .jsonl"
        ) from None
    types = {
        "text": pa.string(),
        "texts": pa.list_(pa.string()),
        "number": pa.float64(),
        "truth": pa.bool_(),
    }
    plain = [{key: _escape(value) for key, value in row.items()} for row in rows]
    schema = pa.schema([(name, types[kind]) for name, kind in list_columns(plain).items()])
    sink = io.BytesIO()
    try:
        pq.write_table(pa.Table.from_pylist(plain, schema=schema), sink)
    except pa.ArrowException as error:
        raise OutputError(f"cannot write the predictions as Parquet: {error}") from error
    return sink.getvalue()
