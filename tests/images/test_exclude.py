"""Patterns of files that are left out, as in .gitignore."""

from __future__ import annotations

import re

import pytest

from helpers.frames import Frame
from helpers.noise_images import save_noise
from ilk.core.errors import InputError, NoImages
from ilk.images import list_sources, read_images
from ilk.images.sources.exclude import Exclusion, OwnPattern

PATHS = ["cat/1.png", "cat/1_mask.png", "dog/2.png", "dog/masks/3.png", "masks/4.png", "masks.png"]

MATCHES = [
    ("*_mask.png", ["cat/1_mask.png"]),
    ("masks", ["dog/masks/3.png", "masks/4.png"]),
    ("masks/", ["dog/masks/3.png", "masks/4.png"]),
    ("/masks", ["masks/4.png"]),
    ("masks*", ["dog/masks/3.png", "masks/4.png", "masks.png"]),
    ("dog/*.png", ["dog/2.png"]),
    ("dog/**", ["dog/2.png", "dog/masks/3.png"]),
    ("**/3.png", ["dog/masks/3.png"]),
    ("*/masks", ["dog/masks/3.png"]),
    ("cat/?.png", ["cat/1.png"]),
    ("[0-2].png", ["cat/1.png", "dog/2.png"]),
    ("[!0-2].png", ["dog/masks/3.png", "masks/4.png"]),
    ("**/masks/*.png", ["dog/masks/3.png", "masks/4.png"]),
    ("CAT", []),
    ("./cat", ["cat/1.png", "cat/1_mask.png"]),
    ("a.png", []),
    ("1+png", []),
]


@pytest.mark.parametrize(("pattern", "left_out"), MATCHES)
def test_a_pattern_matches_as_in_gitignore(pattern, left_out):
    assert [path for path in PATHS if Exclusion([pattern]).excludes(path)] == left_out


def test_the_last_pattern_decides():
    exclusion = Exclusion(["masks", "!3.png"])
    assert [path for path in PATHS if exclusion.excludes(path)] == ["masks/4.png"]
    exclusion = Exclusion(["!3.png", "masks"])
    assert [path for path in PATHS if exclusion.excludes(path)] == [
        "dog/masks/3.png",
        "masks/4.png",
    ]


@pytest.fixture
def folder(tmp_path):
    for i, path in enumerate(PATHS):
        save_noise(tmp_path / path, i)
    return tmp_path


def test_files_of_a_folder_are_left_out_and_counted(folder):
    images = read_images(folder, exclude=["*_mask.png", "masks*", "nothing"])
    assert [row.path for row in images.used] == ["cat/1.png", "dog/2.png"]
    assert images.classes == ("cat", "dog")
    assert len(images.rows) == len(PATHS)  # a row per file, as ever
    assert [r.detail for r in images.rows if r.reason == "excluded"] == [
        "by *_mask.png",
        "by masks*",
        "by masks*",
        "by masks*",
    ]
    assert images.notes == (
        "files left out by --exclude (exclude=): 1 by *_mask.png, 3 by masks*, 0 by nothing",
    )
    assert not any(row.digest for row in images.rows if row.reason == "excluded")  # not even read


def test_no_note_names_a_pattern_that_the_user_did_not_give(folder):
    images = read_images(folder, exclude=["*_mask.png", OwnPattern("masks*")])
    assert images.notes == ("files left out by --exclude (exclude=): 1 by *_mask.png",)
    assert [row.path for row in images.used] == ["cat/1.png", "dog/2.png"]
    assert read_images(folder, exclude=[OwnPattern("masks*")]).notes == ()


def test_what_is_left_out_takes_no_part_in_the_layout(folder):
    for part in ("train", "test"):
        (folder / part / "cat").mkdir(parents=True)
        (folder / part / "cat/1.png").write_bytes((folder / "cat/1.png").read_bytes())
    with pytest.raises(InputError, match="splits or"):
        read_images(folder)
    images = read_images(folder, exclude=["/cat", "/dog", "masks*"])
    assert {row.split for row in images.used} == {"test"}  # the copy in train is refused


def test_lines_of_tables_lists_and_frames_are_left_out(folder):
    table = folder / "t.csv"
    table.write_text("path,label\n" + "".join(f"{p},x{i % 2}\n" for i, p in enumerate(PATHS)))
    wanted = ["cat/1.png", "dog/2.png"]
    patterns = ("*_mask.png", "masks*")
    assert [r.path for r in read_images(table, exclude=patterns).used] == wanted
    (folder / "l.txt").write_text("\n".join(PATHS))
    assert [r.path for r in read_images(folder / "l.txt", exclude=patterns).used] == wanted
    files = [str(folder / path) for path in PATHS]
    expected = [str(folder / path) for path in wanted]
    frame = Frame({"path": files, "label": ["x"] * 6}, "pandas")
    assert [r.path for r in read_images(frame, exclude=patterns).used] == expected
    assert [r.path for r in read_images(files, exclude=patterns).used] == expected
    assert [
        r.path for r in read_images(files, exclude="*_mask.png").used
    ] != expected  # one pattern


def test_images_in_memory_are_left_out_by_their_place(folder):
    images = read_images([(folder / p).read_bytes() for p in PATHS[:3]], exclude=["image 1"])
    assert [row.path for row in images.used] == ["image 0", "image 2"]


def test_inputs_of_predictions_are_left_out(folder):
    listed = list_sources([str(folder)], exclude=("masks*", "/cat"))
    assert [name for name, _ in listed.inputs] == [str(folder / "dog/2.png")]
    assert listed.notes == ("files left out by --exclude (exclude=): 3 by masks*, 2 by /cat",)


@pytest.mark.parametrize("pattern", ["", " ", "/", "!", 3])
def test_a_pattern_without_a_name_is_refused(folder, pattern):
    with pytest.raises(InputError, match=re.escape(f"exclude is {pattern!r}; give patterns")):
        read_images(folder, exclude=[pattern])


def test_where_nothing_is_left_the_patterns_are_named(folder):
    for source in (folder, *folder.glob("*.csv")):
        with pytest.raises(NoImages, match=r"nothing is left of .*--exclude .* by \*"):
            list_sources([source], exclude=["*"])
    (folder / "empty").mkdir()
    with pytest.raises(NoImages, match="there is no file"):
        list_sources([folder / "empty"], exclude=["*"])


def test_groups_stay_with_their_images(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("path,patient\na.png,p1\nb_mask.png,p2\nc.png,p3\nd.png,\n")
    listed = list_sources([table], exclude=["*_mask.png"], group_column="patient")
    assert listed.groups == ("p1", "p3", None)
    assert [path.rpartition("/")[2] for path, _ in listed.inputs] == ["a.png", "c.png", "d.png"]
