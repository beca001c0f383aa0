"""Predictions of images with several labels, and how they are written."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ilk.artifacts.prediction_io import check_suffix
from ilk.artifacts.row_file import open_rows
from ilk.core.atomic_write import write_atomically
from ilk.core.csv_cells import CsvFormatter
from ilk.core.errors import OutputError, Unavailable
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
        note: What is to be known of the image, as in `Prediction`.
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
    suffix = check_suffix(path)
    if suffix == ".parquet":
        write_atomically(path, _encode_parquet(predictions, labels))
    elif suffix == ".json":
        text = json.dumps([to_row(p) for p in predictions], indent=1) + "\n"
        write_atomically(path, text.encode("utf-8", "surrogateescape"))
    else:
        with open_rows(path) as write:
            for line in _iter_lines(predictions, labels, suffix):
                write(line)


def _iter_lines(
    predictions: Iterable[MultiLabelPrediction], labels: Sequence[str], suffix: str
) -> Iterator[str]:
    if suffix == ".jsonl":
        return (json.dumps(to_row(p)) + "\n" for p in predictions)
    return iter_csv_lines(predictions, labels, "\t" if suffix == ".tsv" else ",")


def write_csv_stream(
    predictions: Iterable[MultiLabelPrediction], labels: Sequence[str], out: IO[str]
) -> None:
    """Write predictions as CSV lines to an open stream, as they arrive."""
    for line in iter_csv_lines(predictions, labels):
        out.write(line)
        out.flush()


def iter_csv_lines(
    predictions: Iterable[MultiLabelPrediction], labels: Sequence[str], delimiter: str = ","
) -> Iterator[str]:
    """Yield a header and one line per prediction, with one column per label.

    Names are joined by `|`, or a JSON list if one of them holds a `|`.
    """
    format_line = CsvFormatter(delimiter).format
    yield format_line(
        ["path", "names", "unknown", "unknown_score", "error"]
        + [f"{PROBABILITY_PREFIX}{label}" for label in labels]
    )
    for prediction in predictions:
        row = to_row(prediction)
        cells = [
            row["path"],
            join_names(row["names"] or (), "|"),
            None if row["unknown"] is None else str(row["unknown"]).lower(),
            row["unknown_score"],
            row["error"],
            *(row["probabilities"].get(label) for label in labels),
        ]
        yield format_line("" if cell is None else cell for cell in cells)


def _encode_parquet(predictions: Iterable[MultiLabelPrediction], labels: Sequence[str]) -> bytes:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise Unavailable(
            "writing Parquet requires pyarrow; run: pip install 'ilk[parquet]', "
            "or write .csv or .jsonl"
        ) from None
    columns: dict[str, tuple[Any, list[Any]]] = {
        "path": (pa.string(), []),
        "names": (pa.list_(pa.string()), []),
        "unknown": (pa.bool_(), []),
        "unknown_score": (pa.float64(), []),
        "error": (pa.string(), []),
        **{f"{PROBABILITY_PREFIX}{label}": (pa.float64(), []) for label in labels},
    }
    for prediction in predictions:
        row = to_row(prediction)
        row["path"] = str(row["path"]).encode("utf-8", "backslashreplace").decode()
        probabilities = row.pop("probabilities")
        row |= {f"{PROBABILITY_PREFIX}{label}": probabilities.get(label) for label in labels}
        for name, (_, values) in columns.items():
            values.append(row[name])
    sink = io.BytesIO()
    try:
        arrays = {name: pa.array(values, kind) for name, (kind, values) in columns.items()}
        pq.write_table(pa.table(arrays), sink)
    except pa.ArrowException as error:
        raise OutputError(f"cannot write the predictions as Parquet: {error}") from error
    return sink.getvalue()
