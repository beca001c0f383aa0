"""`ilk rank` as a user types it: output, files and errors."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from helpers.digit_folders import write_digits
from ilk.cli.rank import command
from ilk.core.errors import IlkError
from ilk.core.metrics import softmax
from ilk.ranking import h_score, leep, logme, rank_correlation

THREE = ["--encoder", "pixels/8x8x1", "--encoder", "pixels/2x2x1", "--encoder", "hog/16"]


def rank(*args: str) -> None:
    command.main([str(a) for a in args], standalone_mode=False, obj=())


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_digits(tmp_path_factory.mktemp("digits") / "d", {"a0": 25, "b1": 20, "c4": 22})


def test_encoders_are_scored_and_sorted_best_first(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rank.json"
    rank(digits, *THREE, "--out", out)
    output = capsys.readouterr().out
    report = json.loads(out.read_text())
    by_name = {entry["encoder"]: entry for entry in report["encoders"]}
    assert set(by_name) == {"pixels/8x8x1", "pixels/2x2x1", "hog/16"}
    assert by_name["pixels/8x8x1"]["n_features"] == 64
    order = [entry["scores"]["LogME"] for entry in report["encoders"]]
    assert order == sorted(order, reverse=True)
    assert order[-1] == by_name["pixels/2x2x1"]["scores"]["LogME"]
    assert all(
        entry["scores"]["LEEP"] is None is entry["scores"]["NCE"] for entry in by_name.values()
    )
    assert all(entry["accuracy"] is None for entry in by_name.values())
    assert report["agreement"] == {}
    assert all(word in output for word in ("LogME", "H-score", "TMI", "on 67 labelled images"))


def test_scores_are_those_of_the_encoded_images(digits: Path, tmp_path: Path) -> None:
    from ilk import images
    from ilk.encode import encode_images
    from ilk.encoders import resolve_encoder
    from ilk.store import Store

    out = tmp_path / "rank.json"
    rank(digits, "--encoder", "pixels/8x8x1", "--out", out)
    (entry,) = json.loads(out.read_text())["encoders"]
    read, encoder, store = images.read_images(digits), resolve_encoder("pixels/8x8x1"), Store()
    encode_images(read, [encoder], store)
    x = store.get(encoder.space, [row.digest for row in read.used])
    y = np.array([read.classes.index(str(row.label)) for row in read.used])
    assert entry["scores"]["LogME"] == pytest.approx(logme.score(x, y), rel=1e-6)
    assert entry["scores"]["H-score"] == pytest.approx(h_score.score(x, y), rel=1e-6)


def test_accuracy_is_measured_with_its_agreement(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rank.json"
    rank(digits, *THREE, "--accuracy", "--out", out)
    report = json.loads(out.read_text())
    accuracy = {entry["encoder"]: entry["accuracy"] for entry in report["encoders"]}
    assert accuracy["pixels/8x8x1"] > 0.95
    assert accuracy["pixels/8x8x1"] > accuracy["pixels/2x2x1"]
    assert report["agreement"]["LogME"]["encoders"] == 3
    scores = [entry["scores"]["LogME"] for entry in report["encoders"]]
    tau = rank_correlation(scores, [accuracy[entry["encoder"]] for entry in report["encoders"]])
    assert report["agreement"]["LogME"]["tau"] == tau
    assert report["agreement"]["LEEP"] == {"tau": None, "encoders": 0}
    output = capsys.readouterr().out
    assert "Kendall's tau with accuracy" in output
    assert "tau is unreliable" in output


def test_without_names_the_defaults_of_fit_are_scored(
    digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rank(digits, "--max-images", "40")
    output = capsys.readouterr().out
    assert "encoders: pixels/8x8x1, hog/32, efficientnet-lite0" in output
    assert "on 40 labelled images" in output


def test_images_are_sampled_by_the_seed(digits: Path, tmp_path: Path) -> None:
    figures = []
    for seed in (1, 1, 2):
        rank(
            digits,
            "--encoder",
            "hog/16",
            "--max-images",
            "30",
            "--seed",
            seed,
            "--out",
            tmp_path / "r.json",
        )
        figures.append(json.loads((tmp_path / "r.json").read_text())["encoders"][0]["scores"])
    assert figures[0] == figures[1] != figures[2]


def test_an_encoder_with_a_classifier_of_its_own_gets_leep_and_nce(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probabilities = []

    def predict(encoder: object, x: np.ndarray) -> np.ndarray | None:
        if x.shape[1] != 64:
            return None
        probabilities.append(softmax(x[:, 20:25], axis=1))
        return probabilities[0]

    monkeypatch.setattr("ilk.ranking.source_probabilities.predict_source_proba", predict)
    out = tmp_path / "rank.json"
    rank(digits, "--encoder", "pixels/8x8x1", "--encoder", "pixels/2x2x1", "--out", out)
    by_name = {
        entry["encoder"]: entry["scores"] for entry in json.loads(out.read_text())["encoders"]
    }
    y = np.repeat([0, 1, 2], [25, 20, 22])
    assert by_name["pixels/8x8x1"]["LEEP"] == pytest.approx(leep.score(probabilities[0], y))
    assert by_name["pixels/2x2x1"]["LEEP"] is None


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ({"a1": 4}, [], "only one class"),
        ({"a1": 4, "b2": 4}, ["--encoder", "pixls"], "the nearest is pixels"),
        ({"a1": 4, "b2": 4}, ["--max-images", "1"], "at least 2 images"),
        ({}, [], "empty"),
    ],
)
def test_bad_input_is_one_sentence(
    content: dict[str, int], options: list[str], message: str, tmp_path: Path
) -> None:
    home = tmp_path / "source"
    home.mkdir()
    write_digits(home, content)
    quick = [] if "--encoder" in options else ["--encoder", "pixels/4x4x1"]
    with pytest.raises(IlkError, match=message):
        rank(home, *quick, *options)


def test_unlabelled_images_and_a_class_with_one_image_are_accepted(tmp_path: Path) -> None:
    home = write_digits(tmp_path / "d", {"a0": 9, "b1": 9, "c2": 1})
    write_digits(home, {"unlabelled/x3": 4})
    rank(home, "--encoder", "pixels/4x4x1", "--out", tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text())["encoders"][0]["scores"]["TMI"]


def test_only_sampled_images_are_encoded(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ILK_STORE", str(tmp_path / "own.sqlite"))
    with pytest.raises(IlkError, match="at least 2"):
        rank(digits, "--encoder", "pixels/5x5x1", "--max-images", 1)
    rank(digits, "--encoder", "pixels/5x5x1", "--max-images", 20)
    with sqlite3.connect(tmp_path / "own.sqlite") as store:
        assert store.execute("select count(*) from features").fetchone() == (20,)
