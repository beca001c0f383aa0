"""Fits of ordered classes: numeric order, mean absolute error in every output, selection by it."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

import ilk
from ilk.cli import run
from ilk.core.errors import InputError
from ilk.fitting.config import FitConfig
from ilk.fitting.selection_statistics import Outcomes, estimate_corrected_accuracy, find_tied


@pytest.fixture(scope="module")
def levels(tmp_path_factory):
    """Images whose brightness is a level of 8, 9, 10 or 11 with noise, and their table."""
    home, rng = tmp_path_factory.mktemp("levels"), np.random.default_rng(0)
    lines = ["path,label"]
    for i in range(120):
        level = 8 + i % 4
        pixels = 20 * level + rng.normal(0, 12) + rng.normal(0, 5, (8, 8))
        Image.fromarray(np.uint8(np.clip(pixels, 0, 255))).save(home / f"{i}.png")
        lines.append(f"{i}.png,{level}")
    (home / "table.csv").write_text("\n".join(lines))
    return home


@pytest.fixture(scope="module")
def model(levels, tmp_path_factory):
    config = FitConfig(
        encoders=("pixels",),
        methods=("GDA", "NearestClassMean"),
        ordered=True,
        criterion="mean_absolute_error",
    )
    classifier = ilk.fit(ilk.read(levels / "table.csv"), config)
    return classifier.save(tmp_path_factory.mktemp("model") / "m")


def test_classes_are_in_numeric_order_and_results_sorted_by_error(model):
    assert ilk.load(model).classes == ("8", "9", "10", "11")
    board = json.loads((model / "leaderboard.json").read_text())
    errors = [row["scores"]["mean_absolute_error"] for row in board["rows"]]
    assert errors == sorted(errors)
    assert 0 < errors[0] < 1
    assert "mean absolute error" in (model / "report.html").read_text("utf-8").casefold()


def test_predictions_carry_the_median_and_its_expected_error(levels, model, tmp_path, capsys):
    files = [str(levels / f"{i}.png") for i in range(5)]
    for one in ilk.load(model).predict(files):
        assert one.median in ("8", "9", "10", "11")
        assert one.expected_absolute_error is not None
        assert 0 <= one.expected_absolute_error < 3
    assert run(["predict", str(model), str(levels / "table.csv"), *files]) == 1
    first, *others = csv.DictReader(capsys.readouterr().out.splitlines())
    assert first["median"] == ""
    assert all(row["median"] and float(row["expected_absolute_error"]) >= 0 for row in others)
    assert run(["predict", str(model), *files, "--out", str(tmp_path / "rows.json")]) == 0
    assert "median" in json.loads((tmp_path / "rows.json").read_text())[0]


def test_evaluate_prints_the_error_of_the_median(levels, model, capsys):
    assert run(["evaluate", str(model), str(levels / "table.csv")]) == 0
    assert "mean absolute error of the median" in capsys.readouterr().out
    assert run(["evaluate", str(model), str(levels / "table.csv"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mean_absolute_error"] < 1


def test_fit_offers_order_for_numbers(levels, tmp_path, capsys):
    options = ["--encoder", "pixels", "--method", "GDA", "--out"]
    assert run(["fit", str(levels / "table.csv"), *options, str(tmp_path / "a")]) == 0
    assert "the 4 classes are numbers" in capsys.readouterr().out
    assert run(["fit", str(levels / "table.csv"), "--ordered", *options, str(tmp_path / "b")]) == 0
    out = capsys.readouterr().out
    assert " MAE " in out
    assert "classes are numbers" not in out


def test_names_that_are_no_numbers_are_refused(levels):
    files = [levels / f"{i}.png" for i in range(6)]
    images = ilk.read(files, labels=["low", "high"] * 3)
    with pytest.raises(InputError, match="ordered classes must be numbers"):
        ilk.fit(images, FitConfig(encoders=("pixels",), ordered=True))
    with pytest.raises(InputError, match="needs classes that are numbers"):
        FitConfig(criterion="mean_absolute_error")
    with pytest.raises(InputError, match="exclude each other"):
        FitConfig(ordered=True, multi_label=True)


def test_selection_by_error_differs_from_selection_by_accuracy():
    rng, n = np.random.default_rng(0), 400
    y = np.zeros(n, np.int64)
    right = np.arange(n) < 300
    near = Outcomes(rng.random(n) < 0.6, np.ones(n), np.full(n, 0.5))
    far = Outcomes(right, np.ones(n), np.where(right, 0.0, 4.0))  # rarely wrong, but by far
    by_error = estimate_corrected_accuracy(y, [near, far], "mean_absolute_error")
    assert by_error.value == pytest.approx(0.6, abs=0.06)
    assert estimate_corrected_accuracy(y, [near, far]).value == pytest.approx(0.75, abs=0.02)
    assert find_tied(y, [near, far], "mean_absolute_error").tolist() == [True, False]
