"""`ilk discover` as a user types it: folders of groups, a sheet, a page, and what is refused."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import write_digits
from ilk import cli
from ilk.classifier import load

KNOWN = ("d0", "d1", "d2", "d3", "d4")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    at = tmp_path_factory.mktemp("discover")
    write_digits(at / "known", dict.fromkeys(KNOWN, 90))
    write_digits(at / "mixed", dict.fromkeys(("x d0", "y d1", "z d6", "z <b> d7"), 40), seed=9)
    write_digits(at / "old", dict.fromkeys(KNOWN, 12), seed=7)
    write_digits(at / "one", {"d6": 1}, seed=5)
    (at / "mixed" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnot much")
    (at / "empty").mkdir()
    arguments = ["fit", str(at / "known"), "--out", str(at / "kinds")]
    assert cli.run([*arguments, "--encoder", "pixels", "--method", "GDA"]) == 0
    return at


def found(home: Path, source: str, out: Path, *more: str) -> int:
    known = ["--known", str(home / "kinds"), "--out", str(out)]
    return cli.run(["discover", str(home / source), *known, *more])


def sheet(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "groups.csv").read_text().splitlines()))


def test_new_kinds_become_folders_of_copies(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "groups"
    before = {path: path.read_bytes() for path in (home / "mixed").rglob("*.png")}
    assert found(home, "mixed", out) == 1  # one file is broken
    said = capsys.readouterr()
    assert "group-1" in said.out
    assert "1 of 161 files could not be used" in said.err
    rows = sheet(out)
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


def test_the_page_is_one_file_and_escapes_names(home: Path, tmp_path: Path) -> None:
    found(home, "mixed", tmp_path / "groups")
    text = (tmp_path / "groups" / "groups.html").read_text("utf-8")
    assert "data:image/png;base64," in text
    assert "<b>" not in text
    assert "z &lt;b&gt; d7" in text
    assert "http://" not in text
    assert "https://" not in text
    assert f"ilk add {home / 'kinds'} --class NAME" in text
    assert 'id="group-1"' in text


def test_nothing_new_is_said(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "groups"
    assert found(home, "old", out) == 0
    assert "nothing new" in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == ["groups.csv", "groups.html"]
    assert "Nothing new" in (out / "groups.html").read_text("utf-8")
    assert {row["group"] for row in sheet(out)} == {""}


def test_a_group_of_one_is_only_a_suggestion(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert found(home, "one", tmp_path / "groups", "--groups", "1") == 0
    assert "a group of one image is only a suggestion" in capsys.readouterr().out
    assert len(list((tmp_path / "groups" / "group-1").iterdir())) == 1


def test_the_number_of_groups_may_be_told(home: Path, tmp_path: Path) -> None:
    assert found(home, "mixed", tmp_path / "groups", "--groups", "3") == 1
    assert len(list((tmp_path / "groups").glob("group-*"))) == 3


def test_all_suggests_groups_that_nothing_calls_unknown(home: Path, tmp_path: Path) -> None:
    deaf = load(home / "kinds")
    deaf = replace(deaf, unknown=replace(deaf.unknown, threshold=1e300))
    deaf.save(tmp_path / "deaf")
    known = ["--known", str(tmp_path / "deaf"), "--out"]
    mixed = str(home / "mixed")
    assert cli.run(["discover", mixed, *known, str(tmp_path / "none")]) == 1
    assert not list((tmp_path / "none").glob("group-*"))
    assert cli.run(["discover", mixed, *known, str(tmp_path / "some"), "--all"]) == 1
    assert len(list((tmp_path / "some").glob("group-*"))) >= 2


def test_what_is_there_is_never_overwritten(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "owls").mkdir()
    (tmp_path / "owls" / "mine.txt").write_text("mine")
    assert found(home, "mixed", tmp_path / "owls") == 5
    assert "is not empty; name a new or an empty folder" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "owls").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("source", "more", "sentence"),
    [
        ("empty", (), "is empty; it must hold images"),
        ("nowhere", (), "there is no folder or file"),
        ("one", ("--groups", "2"), "2 groups cannot be made of 1 images"),
    ],
)
def test_bad_input_is_one_sentence(
    source: str,
    more: tuple[str, ...],
    sentence: str,
    home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert found(home, source, tmp_path / "groups", *more) == 2
    assert sentence in capsys.readouterr().err.strip().splitlines()[-1]


def test_a_model_that_kept_nothing_is_told(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replace(load(home / "kinds"), kept=None).save(tmp_path / "bare")
    known = ["--known", str(tmp_path / "bare"), "--out", str(tmp_path / "groups")]
    assert cli.run(["discover", str(home / "mixed"), *known]) == 2
    assert "kept no features" in capsys.readouterr().err
