"""`ilk rank` as a user types it: what it says, what it writes, how it ends."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from conftest import write_digits
from ilk.cli.rank import command
from ilk.errors import IlkError
from ilk.metrics import softmax
from ilk.ranking import agreement, h_score, leep, logme

THREE = "pixels/8x8x1,pixels/2x2x1, hog/16"


def rank(*args: str) -> None:
    command.main([str(a) for a in args], standalone_mode=False, obj=())


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_digits(tmp_path_factory.mktemp("digits") / "d", {"a0": 25, "b1": 20, "c4": 22})


def test_encoders_are_scored_and_the_likeliest_comes_first(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rank.json"
    rank(digits, "--encoders", THREE, "--out", out)
    said = capsys.readouterr().out
    told = json.loads(out.read_text())
    found = {one["encoder"]: one for one in told["encoders"]}
    assert set(found) == {"pixels/8x8x1", "pixels/2x2x1", "hog/16"}
    assert found["pixels/8x8x1"]["width"] == 64
    order = [one["scores"]["LogME"] for one in told["encoders"]]
    assert order == sorted(order, reverse=True)
    assert order[-1] == found["pixels/2x2x1"]["scores"]["LogME"]
    assert all(one["scores"]["LEEP"] is None is one["scores"]["NCE"] for one in found.values())
    assert all(one["accuracy"] is None for one in found.values())
    assert told["agreement"] == {}
    assert all(word in said for word in ("LogME", "H-score", "TMI", "on 67 labelled images"))


def test_scores_are_those_of_the_encoded_images(digits: Path, tmp_path: Path) -> None:
    from ilk import images
    from ilk.encode import fill
    from ilk.encoders import resolve
    from ilk.store import Store

    out = tmp_path / "rank.json"
    rank(digits, "--encoder", "pixels/8x8x1", "--out", out)
    (one,) = json.loads(out.read_text())["encoders"]
    read, encoder, store = images.read(digits), resolve("pixels/8x8x1"), Store()
    fill(read, [encoder], store)
    x = store.get(encoder.space, [row.digest for row in read.used])
    y = np.array([read.classes.index(str(row.label)) for row in read.used])
    assert one["scores"]["LogME"] == pytest.approx(logme.score(x, y), rel=1e-6)
    assert one["scores"]["H-score"] == pytest.approx(h_score.score(x, y), rel=1e-6)


def test_check_measures_the_leaderboard_and_how_scores_agree(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rank.json"
    rank(digits, "--encoders", THREE, "--check", "--out", out)
    told = json.loads(out.read_text())
    accuracy = {one["encoder"]: one["accuracy"] for one in told["encoders"]}
    assert accuracy["pixels/8x8x1"] > 0.95
    assert accuracy["pixels/8x8x1"] > accuracy["pixels/2x2x1"]
    assert told["agreement"]["LogME"]["encoders"] == 3
    scores = [one["scores"]["LogME"] for one in told["encoders"]]
    tau = agreement(scores, [accuracy[one["encoder"]] for one in told["encoders"]])
    assert told["agreement"]["LogME"]["tau"] == tau
    assert told["agreement"]["LEEP"] == {"tau": None, "encoders": 0}
    said = capsys.readouterr().out
    assert "Kendall's tau with accuracy" in said
    assert "tau says little" in said


def test_no_name_takes_what_fit_would_take(
    digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rank(digits, "--rows", "40")
    said = capsys.readouterr().out
    assert "encoders: pixels/8x8x1, hog/32" in said
    assert "on 40 labelled images" in said


def test_images_are_drawn_by_the_seed(digits: Path, tmp_path: Path) -> None:
    figures = []
    for seed in (1, 1, 2):
        rank(digits, "--encoder", "hog/16", "--rows", "30", "--seed", seed, "--out", tmp_path / "r")
        figures.append(json.loads((tmp_path / "r").read_text())["encoders"][0]["scores"])
    assert figures[0] == figures[1] != figures[2]


def test_an_encoder_with_a_classifier_of_its_own_gets_leep_and_nce(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def source(encoder: object, x: np.ndarray) -> np.ndarray | None:
        if x.shape[1] != 64:
            return None
        seen.append(softmax(x[:, 20:25], axis=1))
        return seen[0]

    monkeypatch.setattr("ilk.ranking.source_head.source_probabilities", source)
    out = tmp_path / "rank.json"
    rank(digits, "--encoders", "pixels/8x8x1,pixels/2x2x1", "--out", out)
    found = {one["encoder"]: one["scores"] for one in json.loads(out.read_text())["encoders"]}
    y = np.repeat([0, 1, 2], [25, 20, 22])
    assert found["pixels/8x8x1"]["LEEP"] == pytest.approx(leep.score(seen[0], y))
    assert found["pixels/2x2x1"]["LEEP"] is None


@pytest.mark.parametrize(
    ("content", "options", "says"),
    [
        ({"a1": 4}, [], "only one class"),
        ({"a1": 4, "b2": 4}, ["--encoders", "pixls"], "the nearest are pixels"),
        ({"a1": 4, "b2": 4}, ["--rows", "1"], "--rows at least 2"),
        ({}, [], "empty"),
    ],
)
def test_bad_input_is_one_sentence(
    content: dict[str, int], options: list[str], says: str, tmp_path: Path
) -> None:
    home = tmp_path / "source"
    home.mkdir()
    write_digits(home, content)
    quick = [] if "--encoders" in options else ["--encoder", "pixels/4x4x1"]
    with pytest.raises(IlkError, match=says):
        rank(home, *quick, *options)


def test_images_without_labels_and_a_class_of_one_are_survived(tmp_path: Path) -> None:
    home = write_digits(tmp_path / "d", {"a0": 9, "b1": 9, "c2": 1})
    write_digits(home, {"unlabelled/x3": 4})
    rank(home, "--encoder", "pixels/4x4x1", "--out", tmp_path / "r")
    assert json.loads((tmp_path / "r").read_text())["encoders"][0]["scores"]["TMI"]


def test_only_images_that_are_scored_on_are_encoded(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ILK_STORE", str(tmp_path / "own.sqlite"))
    with pytest.raises(IlkError, match="at least 2"):
        rank(digits, "--encoders", "pixels/5x5x1", "--rows", 1)
    rank(digits, "--encoders", "pixels/5x5x1", "--rows", 20)
    with sqlite3.connect(tmp_path / "own.sqlite") as store:
        assert store.execute("select count(*) from features").fetchone() == (20,)
