"""A method that learns from pixels is fitted to a folder, saved and used like any other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.digit_folders import write_digits
from ilk.cli import run
from ilk.core.contracts import describe
from ilk.core.data import Data
from ilk.core.flattened_images import FlattenedImages
from ilk.methods import waveblock
from ilk.methods.waveblock import WaveBlock


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waveblock, "MIN_STEPS", 12)


def test_a_method_of_images_is_fitted_to_a_folder(tmp_path: Path) -> None:
    home, out = write_digits(tmp_path / "d", {"one 1": 10, "two 2": 10}), tmp_path / "k"
    method = "WaveBlock(rounds=0)"
    args = ["fit", str(home), "--out", str(out), "--method", method, "--method", "GDA"]
    assert run([*args, "--encoder", "pixels/16x16x1"]) == 0
    rows = json.loads((out / "leaderboard.json").read_text())["rows"]
    assert {row["method"] for row in rows} == {method, "GDA()"}
    row = next(row for row in rows if row["method"] == method)
    assert row["seconds"] > 0
    assert row["scores"] is not None


def test_without_an_encoder_pixels_are_taken_and_the_model_predicts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, out = write_digits(tmp_path / "d", {"one 1": 10, "two 2": 10}), tmp_path / "k"
    for file in home.rglob("*.png"):
        with Image.open(file) as image:
            image.resize((24, 24)).save(file)
    assert run(["fit", str(home), "--out", str(out), "--method", "WaveBlock(rounds=0)"]) == 0
    model = json.loads((out / "model.json").read_text())
    assert model["encoder"]["name"].startswith("pixels/")
    assert model["method"] == "WaveBlock(rounds=0)"
    capsys.readouterr()
    assert run(["predict", str(out), str(home)]) == 0
    assert "one 1" in capsys.readouterr().out


def test_another_encoder_gives_no_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = write_digits(tmp_path / "d", {"one 1": 4, "two 2": 4})
    args = ["fit", str(home), "--out", str(tmp_path / "k"), "--method", "WaveBlock"]
    assert run([*args, "--encoder", "hog"]) == 2
    assert "add --encoder pixels" in capsys.readouterr().err


def test_flattened_images_have_the_tags_and_the_name_of_the_method() -> None:
    method = FlattenedImages(WaveBlock(rounds=0), 1, 16, 16)
    assert describe(method) == "WaveBlock(rounds=0)"
    assert method.input_kind == "images"
    assert not hasattr(method, "update")
    rng = np.random.default_rng(0)
    x = rng.random((6, 256)).astype(np.float32)
    data = Data(x, np.arange(6) % 2, ("a", "b"))
    inner = WaveBlock(rounds=0).fit(Data(x.reshape(6, 1, 16, 16), data.y, data.classes))
    wanted = inner.logits(x.reshape(6, 1, 16, 16))
    np.testing.assert_array_equal(method.fit(data).logits(x), wanted)
