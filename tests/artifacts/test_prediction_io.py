"""Predictions are written in order, one row per input, in every format."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from ilk.artifacts.prediction import Prediction
from ilk.artifacts.prediction_io import COLUMNS, write_csv_stream, write_predictions
from ilk.core.errors import InputError

ODD = 'naïve \udcff,\n"🦉".png'
ROWS = [
    Prediction("b.png", "owl", 0.75, ("owl", "cat"), False, 1.5),
    Prediction(ODD, "cat", 0.5, (), True, 9.25),
    Prediction.from_error("a.png", "truncated: 3 bytes missing"),
]


def read_csv(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    return list(csv.DictReader(io.StringIO(text), delimiter=delimiter))


@pytest.mark.parametrize(("name", "delimiter"), [("rows.csv", ","), ("rows.tsv", "\t")])
def test_csv_preserves_order_names_and_errors(tmp_path: Path, name: str, delimiter: str) -> None:
    write_predictions(ROWS, tmp_path / name)
    rows = read_csv(tmp_path / name, delimiter)
    assert tuple(rows[0]) == COLUMNS
    assert [row["path"] for row in rows] == ["b.png", ODD, "a.png"]
    assert [row["set"] for row in rows] == ["owl|cat", "", ""]
    assert [row["unknown"] for row in rows] == ["false", "true", ""]
    assert rows[2]["name"] == ""
    assert "truncated" in rows[2]["error"]


def test_json_and_json_lines_are_equivalent(tmp_path: Path) -> None:
    write_predictions(ROWS, tmp_path / "rows.json")
    write_predictions(ROWS, tmp_path / "rows.jsonl")
    whole = json.loads((tmp_path / "rows.json").read_bytes())
    lines = [json.loads(x) for x in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert whole == lines
    assert whole[1]["path"] == ODD
    assert [row["set"] for row in whole] == [["owl", "cat"], [], None]
    assert whole[2]["probability"] is None


def test_parquet_has_the_same_columns(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    write_predictions(ROWS, tmp_path / "rows.parquet")
    table = parquet.read_table(tmp_path / "rows.parquet").to_pydict()
    assert tuple(table) == COLUMNS
    assert table["set"] == [["owl", "cat"], [], None]
    assert table["unknown"] == [False, True, None]


def test_a_stream_writes_the_same_lines_as_a_file(tmp_path: Path) -> None:
    write_predictions(ROWS, tmp_path / "rows.csv")
    out = io.StringIO()
    write_csv_stream(iter(ROWS), out)
    written = (tmp_path / "rows.csv").read_bytes().decode("utf-8", "surrogateescape")
    assert out.getvalue() == written


def test_an_unknown_suffix_is_refused_before_any_work(tmp_path: Path) -> None:
    def never() -> list[Prediction]:
        raise AssertionError("worked before looking at the ending")
        yield

    with pytest.raises(InputError, match=r"\.xlsx.*\.csv"):
        write_predictions(never(), tmp_path / "rows.xlsx")
