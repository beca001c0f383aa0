"""Write predictions as CSV, TSV, JSON, JSON lines or Parquet."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO, Any

from ilk.artifacts.prediction import Prediction
from ilk.artifacts.row_file import open_rows
from ilk.core.atomic_write import write_atomically
from ilk.core.csv_cells import CsvFormatter
from ilk.core.errors import InputError, OutputError, Unavailable
from ilk.core.name_lists import join_names

ORDER_COLUMNS = ("median", "expected_absolute_error")  # of ordered classes
COLUMNS = ("path", "name", "probability", "set", "unknown", "unknown_score", "error")
SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")


def to_row(prediction: Prediction) -> dict[str, Any]:
    """Return a prediction as plain values; missing values are None."""
    failed = bool(prediction.error)
    return {
        "path": prediction.path,
        "name": prediction.name or None,
        "probability": None if failed else round(prediction.probability, 6),
        "set": None if failed else list(prediction.prediction_set),
        "unknown": None if failed else prediction.is_unknown,
        "unknown_score": _round_finite(prediction.unknown_score),
        "error": prediction.error or None,
        **({"note": prediction.note} if prediction.note else {}),
        **(
            {
                "median": prediction.median,
                "expected_absolute_error": _round_finite(prediction.expected_absolute_error),
            }
            if prediction.median
            else {}
        ),
    }


def _round_finite(value: float | None) -> float | None:
    return round(value, 6) if value is not None and math.isfinite(value) else None


def check_suffix(path: Path) -> str:
    """Return the suffix of an output file.

    Raises:
        InputError: The suffix is not supported.
    """
    if (suffix := path.suffix.lower()) not in SUFFIXES:
        raise InputError(f"the suffix of {path} must be one of {', '.join(SUFFIXES)}")
    return suffix


def write_predictions(predictions: Iterable[Prediction], path: Path) -> None:
    """Write predictions in the given order, in the format that the suffix of `path` indicates.

    Rows of CSV, TSV and JSON lines are written as they come (`ilk.artifacts.row_file`). File names
    that are not valid UTF-8 keep their bytes in CSV and are escaped in JSON and Parquet.

    Raises:
        InputError: The suffix is not supported.
        OutputError: The file cannot be written.
        Unavailable: The format is Parquet, and pyarrow is not installed.
    """
    suffix = check_suffix(path)
    if suffix == ".parquet":
        write_atomically(path, _encode_parquet(predictions))
    elif suffix == ".json":
        text = json.dumps([to_row(p) for p in predictions], indent=1) + "\n"
        write_atomically(path, text.encode("utf-8", "surrogateescape"))
    else:
        with open_rows(path) as write:
            for line in _iter_lines(predictions, suffix):
                write(line)


def _iter_lines(predictions: Iterable[Prediction], suffix: str) -> Iterator[str]:
    if suffix == ".jsonl":
        return (json.dumps(to_row(p)) + "\n" for p in predictions)
    return iter_csv_lines(predictions, "\t" if suffix == ".tsv" else ",")


def iter_csv_lines(predictions: Iterable[Prediction], delimiter: str = ",") -> Iterator[str]:
    """Yield a header line and one line per prediction.

    Classes of a set are joined by `|`, or a JSON list if one of them holds a `|` (see
    `ilk.core.name_lists`).
    """
    format_line = CsvFormatter(delimiter).format
    columns: tuple[str, ...] = COLUMNS
    first, predictions = _peek_readable(predictions)
    if first is not None and first.median:
        columns = (*COLUMNS[:3], *ORDER_COLUMNS, *COLUMNS[3:])
    yield format_line(columns)
    for prediction in predictions:
        row = to_row(prediction)
        if row["set"] is not None:
            row["set"] = join_names(row["set"], "|")
        if row["unknown"] is not None:
            row["unknown"] = str(row["unknown"]).lower()
        yield format_line("" if (cell := row.get(c)) is None else cell for c in columns)


def _peek_readable(
    predictions: Iterable[Prediction],
) -> tuple[Prediction | None, Iterator[Prediction]]:
    """Return the first prediction of a readable input, and all predictions from the start."""
    iterator, passed = iter(predictions), []
    for prediction in iterator:
        passed.append(prediction)
        if not prediction.error:
            return prediction, chain(passed, iterator)
    return None, iter(passed)


def write_csv_stream(predictions: Iterable[Prediction], out: IO[str]) -> None:
    """Write predictions as CSV lines to an open stream, as they arrive."""
    for line in iter_csv_lines(predictions):
        out.write(line)
        out.flush()


def _escape(value: Any) -> Any:
    """Escape bytes that are not valid UTF-8, such as `\\udce9`."""
    if isinstance(value, list):
        return [_escape(item) for item in value]
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _encode_parquet(predictions: Iterable[Prediction]) -> bytes:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise Unavailable(
            "writing Parquet requires pyarrow; run: pip install 'ilk[parquet]', "
            "or write .csv or .jsonl"
        ) from None
    rows = [{key: _escape(value) for key, value in to_row(p).items()} for p in predictions]
    schema_fields = [
        ("path", pa.string()),
        ("name", pa.string()),
        ("probability", pa.float64()),
        ("set", pa.list_(pa.string())),
        ("unknown", pa.bool_()),
        ("unknown_score", pa.float64()),
        ("error", pa.string()),
    ]
    if any("median" in row for row in rows):
        schema_fields += [("median", pa.string()), ("expected_absolute_error", pa.float64())]
    sink = io.BytesIO()
    try:
        pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(schema_fields)), sink)
    except pa.ArrowException as error:
        raise OutputError(f"cannot write the predictions as Parquet: {error}") from error
    return sink.getvalue()
