"""Rows of predictions with one class per image, and how they are written."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO, Any

from ilk.artifacts.prediction import Prediction
from ilk.artifacts.row_formats import ColumnType, Row, write_lines, write_rows
from ilk.core.csv_cells import CsvFormatter
from ilk.core.name_lists import join_names

ORDER_COLUMNS = ("median", "expected_absolute_error")  # of ordered classes
COLUMNS = ("path", "name", "probability", "set", "unknown", "unknown_score", "error")


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


def write_predictions(predictions: Iterable[Prediction], path: Path) -> None:
    """Write predictions in the given order, in the format that the suffix of `path` indicates.

    Raises:
        InputError: The suffix is not supported.
        OutputError: The file cannot be written.
        Unavailable: The format is Parquet, and pyarrow is not installed.
    """
    write_rows(map(to_row, predictions), path, format_csv, _list_columns)


def write_csv_stream(predictions: Iterable[Prediction], out: IO[str]) -> None:
    """Write predictions as CSV lines to an open stream, as they arrive."""
    write_lines(format_csv(map(to_row, predictions)), out)


def format_csv(rows: Iterable[Row], delimiter: str = ",") -> Iterator[str]:
    """Yield a header line and one line per row of `to_row`.

    Classes of a set are joined by `|`, or a JSON list if one of them holds a `|` (see
    `ilk.core.name_lists`).
    """
    format_line = CsvFormatter(delimiter).format
    columns: tuple[str, ...] = COLUMNS
    first, rows = _peek_readable(rows)
    if first is not None and "median" in first:
        columns = (*COLUMNS[:3], *ORDER_COLUMNS, *COLUMNS[3:])
    yield format_line(columns)
    for row in rows:
        cells = dict(row)
        if row["set"] is not None:
            cells["set"] = join_names(row["set"], "|")
        if row["unknown"] is not None:
            cells["unknown"] = str(row["unknown"]).lower()
        yield format_line("" if (cell := cells.get(c)) is None else cell for c in columns)


def _peek_readable(rows: Iterable[Row]) -> tuple[Row | None, Iterator[Row]]:
    """Return the row of the first readable input, and all rows from the start."""
    iterator, passed = iter(rows), []
    for row in iterator:
        passed.append(row)
        if not row["error"]:
            return row, chain(passed, iterator)
    return None, iter(passed)


def _list_columns(rows: list[Row]) -> dict[str, ColumnType]:
    columns: dict[str, ColumnType] = {
        "path": "text",
        "name": "text",
        "probability": "number",
        "set": "texts",
        "unknown": "truth",
        "unknown_score": "number",
        "error": "text",
    }
    if any("median" in row for row in rows):
        columns |= {"median": "text", "expected_absolute_error": "number"}
    return columns
