"""`ilk audit` as a user types it: ranked labels, files and errors."""

from __future__ import annotations

import csv
import hashlib
import shutil
from pathlib import Path

import pytest

from helpers.digit_folders import write_digits
from helpers.patients import write_patients
from ilk.cli import run
from ilk.images import read_images

QUICK = ["--encoder", "pixels"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits with three files of each class in another folder; their names say which."""
    home = tmp_path_factory.mktemp("digits")
    counts = {"zero 0": 40, "one 1": 40, "vier 4": 40}
    write_digits(home / "train", counts)
    write_digits(home / "test", {"zero 0": 10, "one 1": 10, "vier 4": 10}, seed=99)
    for name, other in (("zero 0", "one 1"), ("one 1", "vier 4"), ("vier 4", "zero 0")):
        files = [f for f in sorted((home / "train" / name).iterdir()) if "was" not in f.name][:3]
        for file in files:
            file.rename(home / "train" / other / f"was {name[:-2]} {file.name}")
    return home


def hash_files(home: Path) -> dict[str, str]:
    return {
        str(file): hashlib.sha256(file.read_bytes()).hexdigest() + str(file.stat().st_mtime_ns)
        for file in sorted(home.rglob("*"))
        if file.is_file()
    }


def audit(folder: Path, out: Path, *more: str) -> list[dict[str, str]]:
    assert run(["audit", str(folder), "--out", str(out), *QUICK, *more]) == 0
    return list(csv.DictReader(out.read_text().splitlines()))


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_misplaced_files_lead_the_list_and_the_folder_stays(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = hash_files(folder)
    rows = audit(folder, tmp_path / "suspects.csv")
    assert hash_files(folder) == before
    assert list(rows[0]) == ["path", "label", "suggested", "score", "suspect"]
    assert len(rows) == len({digest[:64] for digest in before.values()})  # a copy is one image
    planted = [row for row in rows[:9] if "was" in row["path"]]
    assert len(planted) >= 8
    assert all(row["suggested"].startswith(Path(row["path"]).name.split()[1]) for row in planted)
    assert all(row["suspect"] == "true" for row in planted)
    assert any("/test/" in row["path"] for row in rows)
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    output = capsys.readouterr().out
    for word in ("label", "likely class", "as given", "relabelled", "look at the first", "GDA"):
        assert word in output


def test_the_same_command_gives_the_same_list(folder: Path, tmp_path: Path) -> None:
    one = audit(folder, tmp_path / "a.csv", "--fraction", "0")
    assert one == audit(folder, tmp_path / "b.csv", "--fraction", "0")


def test_ranking_method_and_fraction_are_options(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--ranking", "self_confidence", "--method", "NearestClassMean", "--fraction", "0.1")
    rows = audit(folder, tmp_path / "s.csv", *more, "--show", "3")
    assert "was" in rows[0]["path"]
    output = capsys.readouterr().out
    assert "NearestClassMean()" in output
    assert "worst 10.0% removed" in output
    audit(folder, tmp_path / "s.csv", "--fraction", "0")
    assert "removed" not in capsys.readouterr().out


def test_an_output_file_inside_the_folder_is_refused_before_the_work(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = hash_files(folder)
    assert run(["audit", str(folder), "--out", str(folder / "train" / "s.csv"), *QUICK]) == 2
    assert "never changes" in last_line(capsys)
    assert run(["audit", str(folder), "--out", str(tmp_path / "no" / "s.csv"), *QUICK]) == 5
    assert "cannot write" in last_line(capsys)
    assert hash_files(folder) == before


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ["--ranking", "margins"],
            "no ranking of labels is called 'margins'; the nearest is margin",
        ),
        (["--fraction", "1.5"], "cannot clean a fraction of 1.5 of the labels"),
        (["--method", "GDDA"], "no method is called 'GDDA'"),
        (["--folds", "1"], "cross-validation needs at least 2"),
    ],
)
def test_invalid_options_are_refused_before_the_work(
    options: list[str],
    sentence: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("ilk.images.read_images", lambda *_a, **_k: pytest.fail("images were read"))
    assert run(["audit", str(folder), "--out", str(tmp_path / "s.csv"), *QUICK, *options]) == 2
    assert sentence in last_line(capsys)


def test_a_table_is_not_overwritten_by_its_audit(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("path,label\n")
    assert run(["audit", str(table), "--out", str(table), *QUICK]) == 2
    assert "never changes" in last_line(capsys)
    assert table.read_text() == "path,label\n"


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        ({"zero 0": 4}, "every label is 'zero 0'"),
        ({"zero 0": 1, "one 1": 1}, "every class has a single labelled image"),
    ],
)
def test_too_few_labels_are_an_error_of_one_sentence(
    counts: dict[str, int], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_digits(tmp_path / "in", counts)
    assert run(["audit", str(tmp_path / "in"), "--out", str(tmp_path / "s.csv"), *QUICK]) == 2
    assert sentence in last_line(capsys)
    assert not (tmp_path / "s.csv").exists()


def test_no_label_or_no_image_is_an_error_of_one_sentence(
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


def test_images_whose_group_is_in_two_splits_are_audited_all_the_same(tmp_path: Path) -> None:
    table = write_patients(tmp_path / "d", n_patients=10, n_shots=4)
    lines = table.read_text().splitlines()
    splits = ["split", *(("test" if i % 4 == 0 and i > 19 else "train") for i in range(40))]
    table.write_text("\n".join(f"{a},{b}" for a, b in zip(lines, splits, strict=True)) + "\n")
    images = read_images(table, group_column="patient")
    assert sum(row.reason == "group in both train and test" for row in images.rows) == 15
    rows = audit(table, tmp_path / "suspects.csv", "--group-column", "patient")
    assert len(rows) == 40
