"""`ilk audit` as a user types it: what it finds, what it writes, what it leaves alone."""

from __future__ import annotations

import csv
import hashlib
import shutil
from pathlib import Path

import pytest

from conftest import write_digits
from ilk.cli import COMMANDS, run

QUICK = ["--encoder", "pixels"]


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMMANDS, "audit", "Rank labels that look wrong.")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits with three files of each kind in another's folder; the names tell which."""
    home = tmp_path_factory.mktemp("digits")
    kinds = {"zero 0": 40, "one 1": 40, "vier 4": 40}
    write_digits(home / "train", kinds)
    write_digits(home / "test", {"zero 0": 10, "one 1": 10, "vier 4": 10}, seed=99)
    for at, other in (("zero 0", "one 1"), ("one 1", "vier 4"), ("vier 4", "zero 0")):
        moved = [f for f in sorted((home / "train" / at).iterdir()) if "was" not in f.name][:3]
        for file in moved:
            file.rename(home / "train" / other / f"was {at[:-2]} {file.name}")
    return home


def everything(home: Path) -> dict[str, str]:
    return {
        str(file): hashlib.sha256(file.read_bytes()).hexdigest() + str(file.stat().st_mtime_ns)
        for file in sorted(home.rglob("*"))
        if file.is_file()
    }


def audited(folder: Path, out: Path, *more: str) -> list[dict[str, str]]:
    assert run(["audit", str(folder), "--out", str(out), *QUICK, *more]) == 0
    return list(csv.DictReader(out.read_text().splitlines()))


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_misplaced_files_lead_the_list_and_the_folder_stays(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = everything(folder)
    rows = audited(folder, tmp_path / "suspects.csv")
    assert everything(folder) == before
    assert list(rows[0]) == ["path", "label", "suggested", "score", "suspect"]
    assert len(rows) == len({told[:64] for told in before.values()})  # a copy is one image
    planted = [row for row in rows[:9] if "was" in row["path"]]
    assert len(planted) >= 8
    assert all(row["suggested"].startswith(Path(row["path"]).name.split()[1]) for row in planted)
    assert all(row["suspect"] == "true" for row in planted)
    assert any("/test/" in row["path"] for row in rows)
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    told = capsys.readouterr().out
    for word in ("labelled", "but likely", "as given", "relabelled", "look at the pictures", "GDA"):
        assert word in told


def test_the_same_command_gives_the_same_list(folder: Path, tmp_path: Path) -> None:
    one = audited(folder, tmp_path / "a.csv", "--share", "0")
    assert one == audited(folder, tmp_path / "b.csv", "--share", "0")


def test_rankings_methods_and_shares_can_be_asked_for(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--by", "self_confidence", "--method", "NearestClassMean", "--share", "0.1")
    rows = audited(folder, tmp_path / "s.csv", *more, "--show", "3")
    assert "was" in rows[0]["path"]
    told = capsys.readouterr().out
    assert "NearestClassMean()" in told
    assert "worst 10.0% dropped" in told
    audited(folder, tmp_path / "s.csv", "--share", "0")
    assert "dropped" not in capsys.readouterr().out


def test_a_list_inside_the_folder_is_refused_before_the_work(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = everything(folder)
    assert run(["audit", str(folder), "--out", str(folder / "train" / "s.csv"), *QUICK]) == 2
    assert "leaves as it is" in last_line(capsys)
    assert run(["audit", str(folder), "--out", str(tmp_path / "no" / "s.csv"), *QUICK]) == 5
    assert "cannot write" in last_line(capsys)
    assert everything(folder) == before


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (["--by", "margins"], "no ranking of labels is called 'margins'; the nearest are margin"),
        (["--share", "1.5"], "a share of 1.5 of the labels cannot be treated"),
        (["--method", "GDDA"], "no method is called 'GDDA'"),
        (["--folds", "1"], "cross-validation needs at least 2"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_the_work(
    asked: list[str],
    sentence: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("ilk.images.read", lambda *_a, **_k: pytest.fail("the work began"))
    assert run(["audit", str(folder), "--out", str(tmp_path / "s.csv"), *QUICK, *asked]) == 2
    assert sentence in last_line(capsys)


def test_a_table_is_not_overwritten_by_its_audit(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("path,label\n")
    assert run(["audit", str(table), "--out", str(table), *QUICK]) == 2
    assert "leaves as it is" in last_line(capsys)
    assert table.read_text() == "path,label\n"


@pytest.mark.parametrize(
    ("kinds", "sentence"),
    [
        ({"zero 0": 4}, "every label is 'zero 0'"),
        ({"zero 0": 1, "one 1": 1}, "every class has a single labelled image"),
    ],
)
def test_too_little_to_compare_is_one_sentence(
    kinds: dict[str, int], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_digits(tmp_path / "in", kinds)
    assert run(["audit", str(tmp_path / "in"), "--out", str(tmp_path / "s.csv"), *QUICK]) == 2
    assert sentence in last_line(capsys)
    assert not (tmp_path / "s.csv").exists()


def test_no_label_or_no_image_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_digits(tmp_path / "all", {"zero 0": 4})
    flat = tmp_path / "flat"
    shutil.copytree(tmp_path / "all" / "zero 0", flat)
    out = ["--out", str(tmp_path / "s.csv")]
    assert run(["audit", str(flat), *out, *QUICK]) == 2
    assert "not one label, so there is nothing to audit" in last_line(capsys)
    (tmp_path / "empty").mkdir()
    assert run(["audit", str(tmp_path / "empty"), *out, *QUICK]) == 2
    assert len(last_line(capsys)) > 10
