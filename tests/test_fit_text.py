"""Encoders that read text: zero-shot on the board, and a classifier from names alone."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from conftest import write_digits
from ilk.cli import run

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    from tiny_checkpoints import save_clip

    return f"clip/local-dir:{save_clip(tmp_path_factory.mktemp('clip'), 'clip')}"


def test_text_methods_are_on_the_board_with_the_others(tmp_path: Path, clip: str) -> None:
    home = write_digits(tmp_path / "d", {"one 1": 12, "two 2": 12})
    out = tmp_path / "k"
    assert run(["fit", str(home), "--out", str(out), "--encoder", clip, "--encoder", "pixels"]) == 0
    rows = json.loads((out / "leaderboard.json").read_text())["rows"]
    on_text = {row["method"] for row in rows if row["encoder"] == clip}
    assert {"ZeroShot()", "GDAZeroShot()", "GDA()"} <= on_text
    assert not {r["method"] for r in rows if r["encoder"] != clip} & {"ZeroShot()", "GDAZeroShot()"}


def test_names_without_any_label_are_enough_for_zero_shot(
    tmp_path: Path, clip: str, capsys: pytest.CaptureFixture[str]
) -> None:
    home = write_digits(tmp_path / "d", {"a1": 10, "b2": 10})
    loose = tmp_path / "loose"
    loose.mkdir()
    for file in sorted(home.rglob("*.png")):
        shutil.copy(file, loose)
    args = ["fit", str(loose), "--out", str(tmp_path / "k"), "--classes", "cat, dog,owl"]
    assert run([*args, "--encoder", clip]) == 0
    assert "no label" in capsys.readouterr().out
    assert run(["predict", str(tmp_path / "k"), str(loose)]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert len(rows) == 20
    assert {row["name"] for row in rows} <= {"cat", "dog", "owl"}
    assert all(set(row["set"].split("|")) == {"cat", "dog", "owl"} for row in rows)


def test_names_alone_need_an_encoder_that_reads_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = write_digits(tmp_path / "d", {"a1": 3})
    args = ["fit", str(home / "a1"), "--out", str(tmp_path / "k"), "--classes", "one,two"]
    assert run([*args, "--encoder", "pixels"]) == 2
    assert "zero-shot" in capsys.readouterr().err


def test_descriptions_are_read_and_those_that_tell_classes_apart_join_the_board(
    tmp_path: Path, clip: str
) -> None:
    home = write_digits(tmp_path / "d", {"one 1": 12, "two 2": 12})
    (tmp_path / "told.txt").write_text("a big red owl\n\n a blurry sketch \nthe dog of a cat\n")
    args = ["fit", str(home), "--out", str(tmp_path / "k"), "--encoder", clip]
    assert run([*args, "--descriptions", str(tmp_path / "told.txt")]) == 0
    rows = json.loads((tmp_path / "k" / "leaderboard.json").read_text())["rows"]
    assert "DescriptionSelection()" in {row["method"] for row in rows}
    only = ["--method", "DescriptionSelection", "--descriptions", str(tmp_path / "told.txt")]
    assert run([*args, *only]) == 0
    from ilk.classifier import load

    assert load(tmp_path / "k").model.pool.shape[0] == 3


def test_descriptions_that_cannot_be_used_are_refused(
    tmp_path: Path, clip: str, capsys: pytest.CaptureFixture[str]
) -> None:
    home = write_digits(tmp_path / "d", {"one 1": 3, "two 2": 3})
    (tmp_path / "empty.txt").write_text("\n\n")
    (tmp_path / "one.txt").write_text("a big owl\n")
    (tmp_path / "picture.txt").write_bytes(b"\xff\xfe\x00\xd8")
    args = ["fit", str(home), "--out", str(tmp_path / "k"), "--descriptions"]
    for file, encoder, told in (
        ("empty.txt", clip, "holds no sentence"),
        ("none.txt", clip, "No such file"),
        ("picture.txt", clip, "no UTF-8 text"),
        ("one.txt", "pixels", "an encoder that reads text"),
    ):
        assert run([*args, str(tmp_path / file), "--encoder", encoder]) == 2
        assert told in capsys.readouterr().err
