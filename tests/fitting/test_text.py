"""Encoders that embed text: zero-shot candidates, and classifiers from class names alone."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from helpers.digit_folders import write_digits
from ilk.cli import run

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    from helpers.tiny_checkpoints import save_clip

    return f"clip/local-dir:{save_clip(tmp_path_factory.mktemp('clip'), 'clip')}"


def test_text_methods_are_compared_with_the_others(tmp_path: Path, clip: str) -> None:
    home = write_digits(tmp_path / "d", {"one 1": 12, "two 2": 12})
    out = tmp_path / "k"
    assert run(["fit", str(home), "--out", str(out), "--encoder", clip, "--encoder", "pixels"]) == 0
    rows = json.loads((out / "leaderboard.json").read_text())["rows"]
    on_text = {row["method"] for row in rows if row["encoder"] == clip}
    assert {"ZeroShot()", "GDAZeroShot()", "GDA()"} <= on_text
    assert not {r["method"] for r in rows if r["encoder"] != clip} & {"ZeroShot()", "GDAZeroShot()"}


def test_class_names_without_labels_suffice_for_zero_shot(
    tmp_path: Path, clip: str, capsys: pytest.CaptureFixture[str]
) -> None:
    home = write_digits(tmp_path / "d", {"a1": 10, "b2": 10})
    loose = tmp_path / "loose"
    loose.mkdir()
    for file in sorted(home.rglob("*.png")):
        shutil.copy(file, loose)
    classes = ["--class", "cat", "--class", " dog", "--class", "owl"]
    args = ["fit", str(loose), "--out", str(tmp_path / "k"), *classes]
    assert run([*args, "--encoder", clip]) == 0
    assert "no label" in capsys.readouterr().out
    assert run(["predict", str(tmp_path / "k"), str(loose)]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert len(rows) == 20
    assert {row["name"] for row in rows} <= {"cat", "dog", "owl"}
    assert all(set(row["set"].split("|")) == {"cat", "dog", "owl"} for row in rows)


def test_class_names_alone_need_an_encoder_that_embeds_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = write_digits(tmp_path / "d", {"a1": 3})
    classes = ["--class", "one", "--class", "two"]
    args = ["fit", str(home / "a1"), "--out", str(tmp_path / "k"), *classes]
    assert run([*args, "--encoder", "pixels"]) == 2
    assert "zero-shot" in capsys.readouterr().err


def test_descriptions_are_read_and_their_selection_is_a_candidate(
    tmp_path: Path, clip: str
) -> None:
    home = write_digits(tmp_path / "d", {"one 1": 12, "two 2": 12})
    (tmp_path / "message.txt").write_text("a big red owl\n\n a blurry sketch \nthe dog of a cat\n")
    args = ["fit", str(home), "--out", str(tmp_path / "k"), "--encoder", clip]
    assert run([*args, "--descriptions", str(tmp_path / "message.txt")]) == 0
    rows = json.loads((tmp_path / "k" / "leaderboard.json").read_text())["rows"]
    assert "DescriptionSelection()" in {row["method"] for row in rows}
    only = ["--method", "DescriptionSelection", "--descriptions", str(tmp_path / "message.txt")]
    assert run([*args, *only]) == 0
    from ilk.artifacts.load_classifier import load

    assert load(tmp_path / "k").model.description_embeddings.shape[0] == 3


def test_unusable_descriptions_are_refused(
    tmp_path: Path, clip: str, capsys: pytest.CaptureFixture[str]
) -> None:
    home = write_digits(tmp_path / "d", {"one 1": 3, "two 2": 3})
    (tmp_path / "empty.txt").write_text("\n\n")
    (tmp_path / "one.txt").write_text("a big owl\n")
    (tmp_path / "picture.txt").write_bytes(b"\xff\xfe\x00\xd8")
    args = ["fit", str(home), "--out", str(tmp_path / "k"), "--descriptions"]
    for file, encoder, message in (
        ("empty.txt", clip, "has no sentence"),
        ("none.txt", clip, "No such file"),
        ("picture.txt", clip, "not UTF-8 text"),
        ("one.txt", "pixels", "an encoder that embeds text"),
    ):
        assert run([*args, str(tmp_path / file), "--encoder", encoder]) == 2
        assert message in capsys.readouterr().err
