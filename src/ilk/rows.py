"""Predictions as rows: CSV, JSON, JSON lines or Parquet."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from ilk.artefact import write_file
from ilk.classifier import Prediction
from ilk.errors import InputError, OutputError, Unavailable

COLUMNS = ("path", "name", "probability", "set", "unknown", "unknown_score", "error")
KINDS = (".csv", ".tsv", ".json", ".jsonl", ".parquet")


def as_row(prediction: Prediction) -> dict[str, Any]:
    """One prediction as plain values; what could not be judged is None."""
    failed = bool(prediction.error)
    return {
        "path": prediction.path,
        "name": prediction.name or None,
        "probability": None if failed else round(prediction.probability, 6),
        "set": None if failed else list(prediction.names),
        "unknown": None if failed else prediction.unknown,
        "unknown_score": _finite(prediction.unknown_score),
        "error": prediction.error or None,
    }


def _finite(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


def check_kind(path: Path) -> str:
    """The ending of a file of rows.

    Raises:
        InputError: No format has this ending.
    """
    if (kind := path.suffix.lower()) not in KINDS:
        raise InputError(f"cannot tell the format of {path}; end it in {', '.join(KINDS)}")
    return kind


def write_rows(predictions: Iterable[Prediction], path: Path) -> None:
    """Write all rows, in order, in the format that the file's ending names.

    A name that is not UTF-8 keeps its bytes in CSV and is escaped in JSON and Parquet.
    """
    kind = check_kind(path)
    if kind == ".parquet":
        return write_file(path, _parquet(predictions))
    text = io.StringIO()
    if kind == ".json":
        json.dump([as_row(p) for p in predictions], text, indent=1)
        text.write("\n")
    elif kind == ".jsonl":
        text.writelines(json.dumps(as_row(p)) + "\n" for p in predictions)
    else:
        for line in csv_lines(predictions, "\t" if kind == ".tsv" else ","):
            text.write(line)
    return write_file(path, text.getvalue().encode("utf-8", "surrogateescape"))


def csv_lines(predictions: Iterable[Prediction], delimiter: str = ",") -> Iterator[str]:
    """A heading, then a line each; the names of a set are joined by `|`."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator="\n")

    def line(cells: Iterable[Any]) -> str:
        buffer.seek(0)
        buffer.truncate()
        writer.writerow(cells)
        return buffer.getvalue()

    yield line(COLUMNS)
    for prediction in predictions:
        row = as_row(prediction)
        if row["set"] is not None:
            row["set"] = "|".join(row["set"])
        if row["unknown"] is not None:
            row["unknown"] = str(row["unknown"]).lower()
        yield line("" if row[c] is None else row[c] for c in COLUMNS)


def stream_csv(predictions: Iterable[Prediction], out: IO[str]) -> None:
    """CSV lines to an open stream as they come."""
    for line in csv_lines(predictions):
        out.write(line)
    out.flush()


def _escaped(value: Any) -> Any:
    """Text that is UTF-8; bytes of a file name that are not stand there as `\\udce9`."""
    if isinstance(value, list):
        return [_escaped(one) for one in value]
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _parquet(predictions: Iterable[Prediction]) -> bytes:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise Unavailable(
            "writing Parquet needs pyarrow; pip install 'ilk[parquet]', or write .csv or .jsonl"
        ) from None
    rows = [{key: _escaped(value) for key, value in as_row(p).items()} for p in predictions]
    kinds = [
        ("path", pa.string()),
        ("name", pa.string()),
        ("probability", pa.float64()),
        ("set", pa.list_(pa.string())),
        ("unknown", pa.bool_()),
        ("unknown_score", pa.float64()),
        ("error", pa.string()),
    ]
    sink = io.BytesIO()
    try:
        pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(kinds)), sink)
    except pa.ArrowException as error:
        raise OutputError(f"Parquet refused the rows: {error}") from error
    return sink.getvalue()
