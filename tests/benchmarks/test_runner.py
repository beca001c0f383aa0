"""Benchmarks write their results with provenance."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.runner import list_benchmarks, read_question
from ilk.cli import run


def test_a_small_run_writes_figures_with_their_provenance(tmp_path: Path) -> None:
    out = tmp_path / "digits.json"
    assert run(["bench", "digits", "--small", "--out", str(out)]) == 0
    record = json.loads(out.read_text())
    assert record["small"] is True
    assert {"command", "date", "python", "versions", "machine", "seconds"} <= record.keys()
    rows = record["result"]["rows"]
    assert [row["faults"] for row in rows] == [False, True]
    for row in rows:
        assert row["test_accuracy"] > 0.9
        assert row["out_of_distribution_found"] > 0.5
    assert rows[1]["wrong_labels_in_top_5_percent"] > 0.8


def test_every_benchmark_opens_with_its_question() -> None:
    for name in list_benchmarks():
        assert len(read_question(name).split("\n")[0]) > 20, name


def test_an_unknown_benchmark_offers_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "digit"]) == 2
    assert "digits" in capsys.readouterr().err


def test_a_full_result_never_comes_from_a_small_run() -> None:
    for path in (Path(__file__).parents[2] / "benchmarks" / "results").glob("*.json"):
        assert json.loads(path.read_text())["small"] is False, path.name
