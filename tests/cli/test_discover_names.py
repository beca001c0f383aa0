"""From a suggested name to a class of that name, and groups compared with true classes."""

from __future__ import annotations

import csv
import json
import shlex
import shutil
from pathlib import Path

import pytest

from helpers.digit_folders import write_digits
from ilk import cli
from ilk.artifacts.load_classifier import load
from ilk.updates import discover as discover_module
from ilk.vocabulary.group_names import NameSuggestion

KNOWN = ("d0", "d1", "d2", "d3")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("names")
    write_digits(folder / "known", dict.fromkeys(KNOWN, 80))
    write_digits(folder / "mixed", dict.fromkeys(("d0", "d1", "d6", "d7"), 40), seed=9)
    (folder / "flat").mkdir()
    for path in (folder / "mixed").rglob("*.png"):
        shutil.copy(path, folder / "flat" / f"{path.parent.name}-{path.name}")
    args = ["fit", str(folder / "known"), "--out", str(folder / "kinds")]
    assert cli.run([*args, "--encoder", "pixels", "--method", "GDA"]) == 0
    return folder


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Suggest the same two words for the two largest groups, and none for others."""
    name = NameSuggestion("acoustic guitar", "n02676566", 0.83)
    monkeypatch.setattr(
        discover_module, "suggest_group_names", lambda *_: ({1: name, 2: name}, "an encoder")
    )


def test_a_suggested_name_reaches_every_output_and_the_model(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], named: None
) -> None:
    args = ["discover", str(home / "kinds"), str(home / "mixed"), "--out"]
    assert cli.run([*args, str(tmp_path / "a b")]) == 0
    text = capsys.readouterr().out
    assert "acoustic guitar 83%" in text
    assert cli.run([*args, str(tmp_path / "j"), "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert [g["suggested_name"] for g in value["groups"][:2]] == ["acoustic guitar"] * 2
    rows = list(csv.DictReader((tmp_path / "a b" / "groups.csv").read_text().splitlines()))
    assert {r["suggested_name"] for r in rows if r["group"] == "group-1"} == {"acoustic guitar"}
    command = shlex.split(text.split("becomes a class with: ")[1].splitlines()[0])
    page = (tmp_path / "a b" / "groups.html").read_text("utf-8")
    assert "group-1: acoustic guitar?" in page
    assert "--class-images &#39;acoustic guitar&#39;" in page
    assert command[:3] == ["ilk", "add", str(home / "kinds")]
    folders = [str(tmp_path / "a b" / f"group-{g}") for g in (1, 2)]
    expected = ["--class-images", "acoustic guitar", folders[0]]
    assert command[3:] == [*expected, "--class-images", "acoustic guitar", folders[1]]
    assert cli.run([*command[1:], "--out", str(tmp_path / "wider")]) == 0
    wider = load(tmp_path / "wider")
    assert wider.classes == (*KNOWN, "acoustic guitar")
    n_images = sum(len(list(Path(folder).iterdir())) for folder in folders)
    assert wider.summary_statistics is not None
    assert wider.summary_statistics.counts[-1] == n_images


def test_the_choice_of_the_score_is_printed(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["discover", str(home / "kinds"), str(home / "mixed"), "--out", str(tmp_path / "g")]
    assert cli.run([*args, "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    score = value["unknown_score"]
    auroc = score["auroc_of_hidden_classes"]
    assert set(auroc) > {"distance", "energy", "nearest neighbour"}
    assert score["name"] in auroc
    assert all(0 <= v <= 1 for v in auroc.values())
    assert any(f"flagged by the score {score['name']!r}" in note for note in value["notes"])
    assert value["evaluation"] is None


def test_groups_are_compared_with_true_classes_matched_and_strict(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["discover", str(home / "kinds"), str(home / "mixed"), "--evaluate", "--out"]
    assert cli.run([*args, str(tmp_path / "j"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["evaluation"]
    assert (found["n"], found["n_new"]) == (160, 80)
    assert 0.8 < found["strict"]["overall"] <= found["matched"]["overall"]
    assert found["auroc"] > 0.9
    rows = list(csv.DictReader((tmp_path / "j" / "groups.csv").read_text().splitlines()))
    right = [r["group"] == "" and r["nearest"] == Path(r["path"]).parent.name for r in rows]
    old = [ok for ok, r in zip(right, rows, strict=True) if Path(r["path"]).parent.name < "d6"]
    assert found["strict"]["old"] == pytest.approx(sum(old) / 80)
    assert cli.run([*args, str(tmp_path / "t")]) == 0
    text = capsys.readouterr().out
    assert "160 images, 80 of new classes" in text
    assert f"{found['strict']['overall']:.3f}" in text


def test_images_without_classes_cannot_be_compared(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["discover", str(home / "kinds"), str(home / "flat"), "--evaluate"]
    assert cli.run([*args, "--out", str(tmp_path / "g")]) == 2
    assert "--evaluate" in capsys.readouterr().err
    assert not list(tmp_path.glob("g/*"))
