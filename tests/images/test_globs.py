"""Patterns stand for the files that match, without cycles; an existing file is meant literally."""

from __future__ import annotations

import glob
import os
from pathlib import Path

import pytest

from helpers.archives import make_png, write_folder
from ilk.core.errors import NoImages
from ilk.images import list_sources, read_images
from ilk.images.sources.globs import is_glob, list_matches, split_pattern

FILES = {
    name: make_png(i)
    for i, name in enumerate(
        (
            *("1.png", "2.jpg", "cat/1.png", "cat/2.jpg", "cat/young/3.png", "dog/4.png"),
            *(".hidden/5.png", "cat/.6.png", "train [a]/7.png", "dog/x.png/8.png", "dog/9.PNG"),
        )
    )
}
PATTERNS = (
    *(
        "*.png",
        "*/*.png",
        "**/*.png",
        "**",
        "c*/**/*.png",
        "*/**/*.png",
        "**/young/*",
        "[cd]*/?.png",
    ),
    *("cat", "**/**/*.jpg", ".hidden/*.png", "*/.*.png", "[!c]*/*.png", "**/*.p*"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("globs") / "photos", FILES)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_matches_are_those_of_the_standard_library(pattern: str, folder: Path) -> None:
    expected = set()
    for path in glob.glob(pattern, root_dir=folder, recursive=True):
        if (folder / path).is_file():
            expected.add(path)
        elif "**" not in pattern:  # a folder that matches stands for the files in it
            inside = glob.glob("**", root_dir=folder / path, recursive=True)
            expected |= {f"{path}/{name}" for name in inside if (folder / path / name).is_file()}
    root, rows = list_matches(f"{folder}/{pattern}")
    found = [os.path.relpath(root / row.path, folder) for row in rows]
    assert set(found) == expected
    assert [row.path for row in rows] == sorted(row.path for row in rows)
    assert len(found) == len(set(found))


def test_what_exists_under_the_name_is_meant_literally(folder: Path, tmp_path: Path) -> None:
    assert split_pattern(f"{folder}/train [a]/*.png") == (f"{folder}/train [a]", ["*.png"])
    assert [row.path for row in list_matches(f"{folder}/train [a]/*.png")[1]] == ["7.png"]
    (tmp_path / "a[1].png").write_bytes(make_png(1))
    (tmp_path / "a1.png").write_bytes(make_png(2))
    assert not is_glob(str(tmp_path / "a[1].png"))
    assert list_sources([tmp_path / "a[1].png"]).list_paths() == [str(tmp_path / "a[1].png")]
    assert list_sources([f"{tmp_path}/a[12].png"]).list_paths() == [str(tmp_path / "a1.png")]


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    write_folder(tmp_path, {"cat/1.png": make_png(1)})
    for i in range(12):  # 2^40 paths for who follows them blindly
        (tmp_path / "cat" / f"loop{i}").symlink_to(tmp_path, target_is_directory=True)
    rows = list_matches(f"{tmp_path}/**/*.png")[1]
    assert [row.path for row in rows if row.status == "used"] == ["cat/1.png"]


def test_a_pattern_is_read_like_its_folder(folder: Path) -> None:
    images = read_images(f"{folder}/[cd]*/*.png")
    assert {(row.path, row.label) for row in images.used} == {
        *[("cat/1.png", "cat"), ("dog/4.png", "dog"), ("dog/x.png/8.png", "dog")]
    }
    assert images.root == folder
    assert images.folders == (folder,)
    with pytest.raises(NoImages, match=r"no file matches .*\.gif"):
        read_images(f"{folder}/*.gif")


def test_a_pattern_from_the_working_directory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert list_sources(["*.png", "cat/*.jpg"]).list_paths() == ["1.png", "cat/2.jpg"]
    assert read_images("*/*.jpg").folders == ()
    monkeypatch.chdir(folder / ".hidden")
    assert list_sources(["../.hidden/*.png", f"{folder}/.hidden/5*"]).list_paths() == [
        *("../.hidden/5.png", str(folder / ".hidden" / "5.png"))
    ]
