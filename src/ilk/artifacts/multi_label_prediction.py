"""Predictions of images with several labels, and how they are written."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ilk.artifacts.row_formats import ColumnType, Row, check_suffix, write_lines, write_rows
from ilk.core.csv_cells import CsvFormatter
from ilk.core.name_lists import join_names

PROBABILITY_PREFIX = "probability:"  # of the column of each label


@dataclass(frozen=True)
class MultiLabelPrediction:
    """Prediction for one input.

    Attributes:
        path: The input as it was given.
        names: Labels at or above their threshold, most probable first; may be empty.
        probabilities: Calibrated probability of each label, in [0, 1]; empty if the input could
            not be read.
        is_unknown: Whether the image is out-of-distribution.
        unknown_score: Out-of-distribution score; nan if the input could not be read.
        error: Why the input could not be read, or "".
        note: What there is to know about the image, as in `Prediction`.
    """

    path: str
    names: tuple[str, ...]
    probabilities: dict[str, float]
    is_unknown: bool
    unknown_score: float
    error: str = ""
    note: str = ""

    @classmethod
    def from_error(cls, path: str, error: str) -> MultiLabelPrediction:
        """Return the prediction of an input that could not be read."""
        return cls(path, (), {}, False, float("nan"), error)


def to_row(prediction: MultiLabelPrediction) -> dict[str, Any]:
    """Return a prediction as plain values; missing values are None."""
    failed = bool(prediction.error)
    score = prediction.unknown_score
    return {
        "path": prediction.path,
        "names": None if failed else list(prediction.names),
        "probabilities": {name: round(p, 6) for name, p in prediction.probabilities.items()},
        "unknown": None if failed else prediction.is_unknown,
        "unknown_score": round(score, 6) if math.isfinite(score) else None,
        "error": prediction.error or None,
        **({"note": prediction.note} if prediction.note else {}),
    }


def write_predictions(
    predictions: Iterable[MultiLabelPrediction], labels: Sequence[str], path: Path
) -> None:
    """Write predictions in the given order, in the format that the suffix of `path` indicates.

    Raises:
        InputError: The suffix is not supported.
        OutputError: The file cannot be written.
        Unavailable: The format is Parquet, and pyarrow is not installed.
    """
    columns: dict[str, ColumnType] = {
        "path": "text",
        "names": "texts",
        "unknown": "truth",
        "unknown_score": "number",
        "error": "text",
        **{f"{PROBABILITY_PREFIX}{label}": "number" for label in labels},
    }
    to_plain = _to_flat_row if check_suffix(path) == ".parquet" else to_row
    write_rows(
        map(to_plain, predictions),
        path,
        lambda rows, delimiter: format_csv(rows, labels, delimiter),
        lambda _: columns,
    )


def write_csv_stream(
    predictions: Iterable[MultiLabelPrediction], labels: Sequence[str], out: IO[str]
) -> None:
    """Write predictions as CSV lines to an open stream, as they arrive."""
    write_lines(format_csv(map(to_row, predictions), labels), out)


def format_csv(rows: Iterable[Row], labels: Sequence[str], delimiter: str = ",") -> Iterator[str]:
    """Yield a header and one line per row of `to_row`, with one column per label.

    Names are joined by `|`, or a JSON list if one of them holds a `|`.
    """
    format_line = CsvFormatter(delimiter).format
    yield format_line(
        ["path", "names", "unknown", "unknown_score", "error"]
        + [f"{PROBABILITY_PREFIX}{label}" for label in labels]
    )
    for row in rows:
        cells = [
            row["path"],
            join_names(row["names"] or (), "|"),
            None if row["unknown"] is None else str(row["unknown"]).lower(),
            row["unknown_score"],
            row["error"],
            *(row["probabilities"].get(label) for label in labels),
        ]
        yield format_line("" if cell is None else cell for cell in cells)


def _to_flat_row(prediction: MultiLabelPrediction) -> Row:
    """Return the row of a prediction with one entry per label in place of its probabilities."""
    row = to_row(prediction)
    probabilities = {f"{PROBABILITY_PREFIX}{k}": p for k, p in row["probabilities"].items()}
    return {key: value for key, value in row.items() if key != "probabilities"} | probabilities
