"""`ilk discover` again into the same folder: nothing of the user's is lost."""

import shutil
from pathlib import Path

import pytest

from helpers.digit_folders import write_digits
from ilk import cli

KNOWN = ("d0", "d1", "d2", "d3")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("again")
    write_digits(folder / "known", dict.fromkeys(KNOWN, 20))
    write_digits(folder / "new", dict.fromkeys(("x d6", "x d7"), 15), seed=9)
    write_digits(folder / "others", dict.fromkeys(("x d8", "x d9"), 15), seed=8)
    args = ["fit", str(folder / "known"), "--out", str(folder / "kinds"), "--folds", "2"]
    assert cli.run([*args, "--encoder", "pixels", "--method", "GDA"]) == 0
    assert discover(folder, "new", folder / "groups") == 0
    return folder


def discover(home: Path, source: str, out: Path) -> int:
    args = ["discover", str(home / "kinds"), str(home / source), "--groups", "2"]
    return cli.run([*args, "--out", str(out)])


def read(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_same_command_leaves_the_same_files(home: Path) -> None:
    before = read(home / "groups")
    assert discover(home, "new", home / "groups") == 0
    assert read(home / "groups") == before


def test_groups_of_other_images_are_kept(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = read(home / "groups")
    assert discover(home, "others", home / "groups") == 5
    assert "is not empty; name a new or an empty folder" in capsys.readouterr().err
    assert read(home / "groups") == before


@pytest.mark.parametrize("change", ["rename", "add", "edit", "remove", "record"])
def test_groups_that_someone_has_changed_are_kept(home: Path, tmp_path: Path, change: str) -> None:
    out = tmp_path / "groups"
    shutil.copytree(home / "groups", out)
    first = min((out / "group-1").iterdir())
    match change:
        case "rename":
            (out / "group-1").rename(out / "guitar")
        case "add":
            (out / "notes.txt").write_text("mine")
        case "edit":
            (out / "groups.csv").write_text("mine")
        case "remove":
            first.unlink()
        case "record":
            (out / ".ilk.groups").unlink()
    before = read(out)
    assert discover(home, "new", out) == 5
    assert read(out) == before
