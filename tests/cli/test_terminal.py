"""Names from strangers on a terminal, in pipes and in tables; class names in every command."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from helpers.command_line import list_options
from ilk.cli import ilk, run
from ilk.core.name_lists import split_names

ESCAPE = "x\x1b[31mred\r\u202e.png"
ROOT = Path(__file__).parents[2]


def draw(root: Path, name: str, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    (root / name).mkdir(parents=True)
    for i in range(n):
        pixels = np.clip(60 * seed + rng.integers(0, 30, (8, 8, 3)), 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{i}.png")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    for seed, name in enumerate(("a|b", "=a", "b\x1b[32m", " Caf\u00e9 "), 1):
        draw(root / "train", name, 8, seed)
    Image.new("RGB", (8, 8), (70, 70, 70)).save(root / ESCAPE)
    arguments = ["--encoder", "pixels", "--method", "GDA", "--single"]
    assert run(["fit", str(root / "train"), "--out", str(root / "model"), *arguments]) == 0
    return root


def open_terminal(arguments: list[str], home: Path) -> str:
    pty = pytest.importorskip("pty")
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "ilk", *arguments],
        stdout=follower,
        stderr=follower,
        stdin=subprocess.DEVNULL,
        cwd=home,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    os.close(follower)
    shown = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:  # Linux says so at the end
            break
        if not part:
            break
        shown += part
    process.wait()
    os.close(leader)
    return shown.decode()


def test_a_terminal_shows_names_as_escapes_and_a_pipe_gets_them(world):
    shown = open_terminal(["predict", "model", ESCAPE, "gone\x1bc.png"], world)
    assert "\x1b[31m" not in shown
    assert "\x1bc" not in shown
    assert "\u202e" not in shown
    assert r"x\x1b[31mred\r\u202e.png" in shown
    assert r"gone\x1bc.png" in shown
    error = open_terminal(["predict", "no\x1b[2Jmodel", "x"], world)
    assert "\x1b" not in error
    assert r"no\x1b[2Jmodel" in error
    usage = open_terminal(["predict", "--no\x1b[2J"], world)
    assert "\x1b" not in usage
    piped = subprocess.run(
        [sys.executable, "-m", "ilk", "predict", "model", ESCAPE],
        capture_output=True,
        cwd=world,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        check=True,
    )
    assert ESCAPE.encode() in piped.stdout


def test_a_set_of_classes_can_be_split_again(world, tmp_path):
    out = tmp_path / "p.csv"
    assert run(["predict", str(world / "model"), str(world / "train"), "--out", str(out)]) == 0
    with out.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    classes = {"a|b", "=a", "b\x1b[32m", "Caf\u00e9"}
    assert all(set(split_names(row["set"], "|")) <= classes for row in rows)
    assert any("a|b" in split_names(row["set"], "|") for row in rows)


def test_formulas_are_counted_or_made_safe(world, tmp_path, capsys):
    arguments = ["predict", str(world / "model"), str(world / "train"), "--out"]
    assert run([*arguments, str(tmp_path / "as_is.csv")]) == 0
    assert "would run as a formula in a spreadsheet; --csv-safe" in capsys.readouterr().err
    assert run([*arguments, str(tmp_path / "safe.csv"), "--csv-safe"]) == 0
    assert "run as a formula" not in capsys.readouterr().err
    with (tmp_path / "safe.csv").open(encoding="utf-8", newline="") as lines:
        names = {row["name"] for row in csv.DictReader(lines)}
    assert "'=a" in names
    assert "=a" not in names
    from ilk.images import read_images

    for name in ("as_is.csv", "safe.csv"):  # ilk reads back what it wrote
        assert "=a" in read_images(tmp_path / name).classes


def test_every_command_that_writes_csv_has_the_option():
    commands = set(list_options()["--csv-safe"])
    expected = {"predict", "fit", "audit", "discover", "detect score", "search", "duplicates"}
    assert commands == expected


@pytest.mark.parametrize("command", sorted(list_options()["--seed"]))
def test_a_negative_seed_is_one_sentence_in_every_command(command):
    result = CliRunner().invoke(ilk, [*command.split(), "--seed", "-1"])
    assert result.exit_code == 2
    assert "'--seed': -1 is not in the range" in result.output or "Missing" in result.output


def test_a_label_in_another_spelling_is_evaluated(world, tmp_path, capsys):
    draw(tmp_path, "cafe\u0301", 4, 4)
    assert run(["evaluate", str(world / "model"), str(tmp_path)]) == 0
    assert "labels are read in the model's spelling" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["", "  ", "B\udce4r"])
def test_a_class_to_add_needs_a_name(world, tmp_path, name, capsys):
    draw(tmp_path, "x", 3, 2)
    arguments = ["--class-images", name, str(tmp_path / "x"), "--out", str(tmp_path / "m")]
    assert run(["add", str(world / "model"), *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_notes_of_intake_stand_in_the_report_and_in_intake_json(tmp_path, capsys):
    draw(tmp_path, "a", 6, 1)
    draw(tmp_path, "b", 6, 3)
    lines = [f"{c}/{i}.png,{c},{i % 3},x" for c in "ab" for i in range(6)]
    (tmp_path / "t.csv").write_text("path,label,fold,note\n" + "\n".join(lines))
    model = tmp_path / "model"
    arguments = ["--encoder", "pixels", "--method", "GDA", "--single", "--out", str(model)]
    assert run(["fit", str(tmp_path / "t.csv"), *arguments]) == 0
    shown = capsys.readouterr()
    note = "columns of t.csv that were not read: fold, note"
    assert shown.err.count(note) == 1
    assert note not in shown.out
    assert note in (model / "intake.json").read_text()
    assert note[1:] in (model / "report.html").read_text(encoding="utf-8")  # a sentence there
    assert run(["fit", str(tmp_path / "t.csv"), *arguments, "--split-column", "fold:test=0"]) == 0
    assert "test split" in (model / "report.html").read_text(encoding="utf-8")
    assert run(["fit", str(tmp_path / "t.csv"), *arguments, "--split-column", "fold"]) == 2


def test_files_are_left_out_in_every_command_that_reads_images(world, tmp_path, capsys):
    commands = set(list_options()["--exclude"])
    assert {"fit", "check", "audit", "rank", "predict", "evaluate", "add", "adapt"} <= commands
    assert {"discover", "detect fit", "detect score", "pretrain", "tune"} <= commands
    out = tmp_path / "p.csv"
    source = str(world / "train")
    arguments = ["--out", str(out), "--exclude", "[1-9].png"]
    assert run(["predict", str(world / "model"), source, *arguments]) == 0
    assert len(out.read_text(encoding="utf-8").splitlines()) == 1 + 4
    assert "files left out by --exclude" in capsys.readouterr().err
