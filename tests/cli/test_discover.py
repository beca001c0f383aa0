"""`ilk discover` as a user types it: folders of groups, a table, a page, and errors."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.digit_folders import write_digits
from ilk import cli
from ilk.artifacts.load_classifier import load
from ilk.trust.out_of_distribution import NO_THRESHOLD

KNOWN = ("d0", "d1", "d2", "d3", "d4")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("discover")
    write_digits(folder / "known", dict.fromkeys(KNOWN, 90))
    write_digits(folder / "mixed", dict.fromkeys(("x d0", "y d1", "z d6", "z <b> d7"), 40), seed=9)
    write_digits(folder / "old", dict.fromkeys(KNOWN, 30), seed=7)
    write_digits(folder / "one", {"d6": 1}, seed=5)
    (folder / "mixed" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnot much")
    (folder / "empty").mkdir()
    args = ["fit", str(folder / "known"), "--out", str(folder / "kinds")]
    assert cli.run([*args, "--encoder", "pixels", "--method", "GDA"]) == 0
    return folder


def discover(home: Path, source: str, out: Path, *more: str) -> int:
    return cli.run(["discover", str(home / "kinds"), str(home / source), "--out", str(out), *more])


def read_rows(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "groups.csv").read_text().splitlines()))


def test_new_classes_become_folders_of_copies(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "groups"
    before = {path: path.read_bytes() for path in (home / "mixed").rglob("*.png")}
    assert discover(home, "mixed", out) == 1  # one file is broken
    captured = capsys.readouterr()
    assert "group-1" in captured.out
    assert "1 of 161 files could not be used" in captured.err
    rows = read_rows(out)
    assert len(rows) == 161
    assert {path: path.read_bytes() for path in (home / "mixed").rglob("*.png")} == before
    for kind in ("d6", "d7"):
        groups = [row["group"] for row in rows if Path(row["path"]).parent.name[-2:] == kind]
        best = max(set(groups) - {""}, key=groups.count)
        assert groups.count(best) >= 30
        members = [row for row in rows if row["group"] == best]
        assert sum(Path(row["path"]).parent.name[-2:] == kind for row in members) > 0.9 * len(
            members
        )
    old = [row for row in rows if Path(row["path"]).parent.name[-2:] in ("d0", "d1")]
    assert sum(row["group"] != "" for row in old) < 5
    for row in rows:
        if row["group"]:
            assert (out / row["copy"]).read_bytes() == Path(row["path"]).read_bytes()
            assert row["copy"].startswith(row["group"] + "/")
            assert float(row["distance"]) > 0
        assert row["nearest"] in ("", *KNOWN)
    copies = {f"{p.parent.name}/{p.name}" for p in out.glob("group-*/*")}
    assert copies == {row["copy"] for row in rows if row["copy"]}
    broken = next(row for row in rows if row["path"].endswith("broken.png"))
    assert "truncated" in broken["error"]
    assert broken["unknown"] == ""


def test_the_page_is_a_single_file_and_escapes_names(home: Path, tmp_path: Path) -> None:
    discover(home, "mixed", tmp_path / "groups")
    text = (tmp_path / "groups" / "groups.html").read_text("utf-8")
    assert "data:image/png;base64," in text
    assert "<b>" not in text
    assert "z &lt;b&gt; d7" in text
    assert "http://" not in text
    assert "https://" not in text
    assert f"ilk add {home / 'kinds'} --class-images NAME" in text
    assert 'id="group-1"' in text


def test_without_new_classes_no_group_is_suggested(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "groups"
    assert discover(home, "old", out) == 0
    assert "nothing new" in capsys.readouterr().out
    assert sorted(path.name for path in out.glob("[!.]*")) == ["groups.csv", "groups.html"]
    assert "Nothing new" in (out / "groups.html").read_text("utf-8")
    assert {row["group"] for row in read_rows(out)} == {""}


def test_a_group_of_one_image_is_only_a_suggestion(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert discover(home, "one", tmp_path / "groups", "--groups", "1") == 0
    assert "a group of one image is only a suggestion" in capsys.readouterr().out
    assert len(list((tmp_path / "groups" / "group-1").iterdir())) == 1


def test_the_number_of_groups_is_an_option(home: Path, tmp_path: Path) -> None:
    assert discover(home, "mixed", tmp_path / "groups", "--groups", "3") == 1
    assert len(list((tmp_path / "groups").glob("group-*"))) == 3


def test_all_suggests_groups_without_unknown_images(home: Path, tmp_path: Path) -> None:
    model = load(home / "kinds")
    model = replace(model, ood_detector=replace(model.ood_detector, threshold=NO_THRESHOLD))
    model.save(tmp_path / "deaf")
    args = ["discover", str(tmp_path / "deaf"), str(home / "mixed"), "--out"]
    assert cli.run([*args, str(tmp_path / "none")]) == 1
    assert not list((tmp_path / "none").glob("group-*"))
    assert cli.run([*args, str(tmp_path / "some"), "--all"]) == 1
    assert len(list((tmp_path / "some").glob("group-*"))) >= 2


def test_existing_files_are_never_overwritten(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "owls").mkdir()
    (tmp_path / "owls" / "mine.txt").write_text("mine")
    assert discover(home, "mixed", tmp_path / "owls") == 5
    assert "is not empty; name a new or an empty folder" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "owls").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("source", "more", "sentence"),
    [
        ("empty", (), "is empty; it must contain images"),
        ("nowhere", (), "there is no folder or file"),
        ("one", ("--groups", "2"), "2 groups cannot be made of 1 images"),
    ],
)
def test_bad_input_is_an_error_of_one_sentence(
    source: str,
    more: tuple[str, ...],
    sentence: str,
    home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert discover(home, source, tmp_path / "groups", *more) == 2
    assert sentence in capsys.readouterr().err.strip().splitlines()[-1]


def test_a_model_without_summary_statistics_is_refused(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replace(load(home / "kinds"), summary_statistics=None).save(tmp_path / "bare")
    args = ["discover", str(tmp_path / "bare"), str(home / "mixed")]
    assert cli.run([*args, "--out", str(tmp_path / "groups")]) == 2
    assert "stores no features" in capsys.readouterr().err
