"""`ilk adapt` as it is typed: a stream with other shares, and streams that it will not follow."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import write_digits
from ilk.classifier import load
from ilk.cli import run as ilk
from ilk.cli.adapt import command
from ilk.errors import IlkError

KINDS = ("three 3", "eight 8", "nine 9")


def run(args: list[str]) -> int:
    """The command alone, by the exit codes of `ilk`."""
    import click

    try:
        return command.main(args, prog_name="ilk adapt", standalone_mode=False) or 0
    except IlkError as error:
        click.echo(f"ilk: {error}", err=True)
        return error.exit_code
    except click.exceptions.Exit as stopped:
        return stopped.exit_code


def fitted(home: Path, each: int, encoder: str) -> Path:
    write_digits(home / "old", dict.fromkeys(KINDS, each))
    args = ["--encoder", encoder, "--method", "GDA"]
    assert ilk(["fit", str(home / "old"), "--out", str(home / "kinds"), *args]) == 0
    return home / "kinds"


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fitted(tmp_path_factory.mktemp("fine"), 40, "pixels/4x4x1")


@pytest.fixture(scope="module")
def coarse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sees so little that the shares of the classes matter."""
    return fitted(tmp_path_factory.mktemp("coarse"), 60, "pixels/2x2x1")


@pytest.fixture(scope="module")
def stream(kinds: Path) -> Path:
    home = write_digits(kinds.parent / "stream", {"three 3": 120, "eight 8": 12, "nine 9": 12}, 3)
    for folder in sorted(home.iterdir()):  # as they come: no folder tells a class
        for file in sorted(folder.iterdir()):
            file.rename(home / file.name)
        folder.rmdir()
    return home


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def test_a_stream_with_other_shares_is_followed_and_told(
    coarse: Path, stream: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(coarse)
    assert run([str(coarse), str(stream), "--out", str(tmp_path / "adapted")]) == 0
    said = capsys.readouterr().out
    assert "95 % interval" in said
    assert "adapted to the shares of classes among 144 images: three 3 " in said
    assert contents(coarse) == before
    adapted = load(tmp_path / "adapted")
    assert adapted.shares is not None
    told = json.loads((tmp_path / "adapted" / "model.json").read_text())["followed"]
    assert told["n"] == 144
    at = adapted.classes.index("three 3")
    assert told["now"][at] == pytest.approx(120 / 144, abs=0.12)
    assert told["learnt"][at] + 0.1 < adapted.shares.now[at] < told["now"][at]
    assert "adapted to the shares" in (tmp_path / "adapted" / "report.html").read_text()
    assert ilk(["predict", str(tmp_path / "adapted"), str(stream)]) == 0


def test_a_stream_as_learnt_changes_no_answer(
    kinds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = write_digits(tmp_path / "same", dict.fromkeys(KINDS, 50), 7)
    assert run([str(kinds), str(home), "--out", str(tmp_path / "k")]) == 0
    assert "cannot be told from those that answers take for granted" in capsys.readouterr().out
    files = sorted(home.rglob("*.png"))
    assert load(tmp_path / "k").predict(files) == load(kinds).predict(files)


def strange(home: Path) -> Path:
    rng = np.random.default_rng(0)
    home.mkdir()
    for i in range(40):
        pixels = rng.integers(0, 256, (8, 8)).astype(np.uint8)
        Image.fromarray(pixels).save(home / f"{i}.png")
    return home


BAD = {
    "no images": ("empty", 2, "is empty"),
    "no such folder": ("gone", 2, "there is no folder or file"),
    "no image among the files": ("text", 2, "not an image"),
    "too few": ("few", 2, "too few images to tell shares from: 5"),
    "one class": ("one", 2, "nearly all images look like 'nine 9'"),
    "strangers": ("strange", 2, "like nothing that was learnt"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_followed_is_one_sentence_and_nothing_is_written(
    case: str, kinds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, code, says = BAD[case]
    for made in ("empty", "text"):
        (tmp_path / made).mkdir()
    (tmp_path / "text" / "a.txt").write_text("hello")
    write_digits(tmp_path / "few", {"a3": 5})
    write_digits(tmp_path / "one", {"a9": 100}, seed=4)
    strange(tmp_path / "strange")
    before = contents(kinds)
    assert run([str(kinds), str(tmp_path / name), "--out", str(tmp_path / "k")]) == code
    assert says in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (tmp_path / "k" / "model.json").exists()
    assert contents(kinds) == before


def test_one_class_is_followed_where_one_insists(kinds: Path, tmp_path: Path) -> None:
    write_digits(tmp_path / "one", {"a9": 100}, seed=4)
    assert run([str(kinds), str(tmp_path / "one"), "--out", str(tmp_path / "k"), "--anyway"]) == 0
    shares = load(tmp_path / "k").shares
    assert shares is not None
    assert 0 < shares.now.min() < 0.05


def test_a_folder_of_something_else_is_not_written_to(
    kinds: Path, stream: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    assert run([str(kinds), str(stream), "--out", str(tmp_path)]) == 5
    assert "no ilk classifier" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_strict_stops_at_a_refused_file(kinds: Path, tmp_path: Path) -> None:
    home = write_digits(tmp_path / "s", {"a3": 30})
    victim = next((home / "a3").iterdir())
    victim.write_bytes(victim.read_bytes()[:60])
    assert run([str(kinds), str(home), "--out", str(tmp_path / "k"), "--strict"]) == 1
    assert not (tmp_path / "k" / "model.json").exists()
