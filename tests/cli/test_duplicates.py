"""`ilk duplicates` and `ilk fit --group-from duplicates` as a user types them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from helpers.drawn_pictures import draw
from ilk import cli
from ilk.deduplication import calibration

FAST = ["--encoder", "hog"]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "N_ORIGINALS", 5)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes in train and test; three training pictures are in the test as well."""
    for split, label, first, n in (
        ("train", "cat", 0, 14),
        ("train", "dog", 100, 14),
        ("test", "cat", 200, 5),
        ("test", "dog", 300, 5),
    ):
        folder = tmp_path / "photos" / split / label
        folder.mkdir(parents=True)
        for i in range(first, first + n):
            draw(i).save(folder / f"{i}.png")
    test = tmp_path / "photos" / "test"
    draw(0).save(test / "cat" / "leak0.jpg", quality=70)
    draw(1).resize((70, 52)).save(test / "cat" / "leak1.png")
    draw(100).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(test / "dog" / "leak2.png")
    return tmp_path / "photos"


def test_table_page_and_json(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, page = tmp_path / "groups.csv", tmp_path / "groups.html"
    args = ["duplicates", str(photos), *FAST, "--out", str(table), "--page", str(page)]
    assert cli.run(args) == 1
    out = capsys.readouterr().out
    assert "3 pictures occur more than once between training and test images" in out
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert {row["concerns"] for row in rows} == {"train and test"}
    assert [row["keep"] for row in rows].count("yes") == 3
    mirrored = {row["path"] for row in rows if row["mirrored"] == "yes"}
    assert mirrored == {"train/dog/100.png", "test/dog/leak2.png"}
    text = page.read_text()
    assert text.count("data:image/") == 6
    assert "http" not in text.replace("http-equiv", "")
    assert cli.run([*args, "--json"]) == 1  # its own files are replaced
    found = json.loads(capsys.readouterr().out)
    assert found["concerns"]["train and test"] == 3
    assert found["threshold"]["false_matches"] == 1
    assert found["extra_files"] == 3


def test_exit_code_0_without_duplicates_and_2_for_bad_options(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["duplicates", str(photos / "train"), *FAST]) == 0
    assert "no two of 28 pictures are the same" in capsys.readouterr().out
    assert cli.run(["duplicates", str(photos), *FAST, "--false-matches", "0"]) == 2
    assert "above 0" in capsys.readouterr().err
    foreign = tmp_path / "mine.csv"
    foreign.write_text("my,own,table\n")
    assert cli.run(["duplicates", str(photos), *FAST, "--out", str(foreign)]) != 0
    assert foreign.read_text() == "my,own,table\n"
    assert cli.run(["check", str(photos), "--group-from", "duplicates"]) == 2
    assert "for ilk fit" in capsys.readouterr().err


def test_fit_holds_copies_together_and_tells_the_leaks(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for i in (3, 4, 5, 105, 106):  # copies within the training images
        label = "cat" if i < 100 else "dog"
        draw(i).save(photos / "train" / label / f"copy{i}.jpg", quality=60)
    args = ["fit", str(photos), *FAST, "--method", "GDA", "--out", str(tmp_path / "kinds")]
    assert cli.run([*args, "--group-from", "duplicates"]) == 0
    assert "16 images are in 8 groups of the same picture" in capsys.readouterr().out
    leaks = json.loads((tmp_path / "kinds" / "leaderboard.json").read_text())["duplicate_leaks"]
    assert (leaks["n_groups"], leaks["n_images"], leaks["n_refused"]) == (8, 16, 3)
    folds, test = leaks["comparisons"]
    assert (folds["on"], test["on"]) == ("cross-validation", "test")
    assert 0 < folds["n_leaked"] <= 10
    assert (test["n_leaked"], test["n_tested"]) == (3, 13)
    for comparison in (folds, test):
        assert 0 <= comparison["without_leaks"]["value"] <= 1
    assert cli.run([*args, "--group-from", "duplicates", "--group-column", "g"]) == 2
