"""How folders say class and part; odd names, links and system files."""

from __future__ import annotations

import inspect
import json
import os
import sys
import unicodedata
from collections import Counter
from io import BytesIO
from itertools import count
from pathlib import Path

import pytest
from PIL import Image

from ilk.core.errors import InputError, NoImages
from ilk.images import find_empty_folders, list_files, read_images

FRESH = count()


def png():
    """An image unlike every other."""
    n = next(FRESH)
    out = BytesIO()
    Image.new("RGB", (3, 2), (n % 256, n // 256 % 256, 7)).save(out, "PNG")
    return out.getvalue()


def plant(root, *paths):
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png())
    return root


def select_triples(images, status="used"):
    return {(r.path, r.label, r.split) for r in images.rows if r.status == status}


def test_class_folders(tmp_path):
    plant(tmp_path, "cat/1.png", "cat/young/2.png", "dog/1.png")
    images = read_images(tmp_path)
    assert select_triples(images) == {
        ("cat/1.png", "cat", "train"),
        ("cat/young/2.png", "cat", "train"),
        ("dog/1.png", "dog", "train"),
    }
    assert images.classes == ("cat", "dog")
    assert [row.path for row in images.rows] == sorted(row.path for row in images.rows)
    assert all(images.path_of(row).is_file() for row in images.rows)


@pytest.mark.parametrize("unlabelled", ["", "unlabelled/", "Unlabeled/"])
def test_images_without_a_label_beside_labelled_ones(tmp_path, unlabelled):
    plant(tmp_path, "cat/1.png", f"{unlabelled}x.png")
    assert (f"{unlabelled}x.png", None, "train") in select_triples(read_images(tmp_path))
    assert read_images(tmp_path).classes == ("cat",)


def test_a_folder_of_nothing_but_images_is_unlabelled(tmp_path):
    plant(tmp_path, "a.png", "b.png")
    assert select_triples(read_images(tmp_path)) == {
        ("a.png", None, "train"),
        ("b.png", None, "train"),
    }


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Train", "VALID", "Test"), ("TRAIN", "validation", "TEST")]
)
def test_parts_of_class_folders(tmp_path, names):
    plant(tmp_path, *(f"{name}/{c}/1.png" for name in names for c in ("cat", "dog")))
    plant(tmp_path, f"{names[0]}/unlabelled/x.png", f"{names[2]}/y.png", "z.png")
    images = read_images(tmp_path)
    assert {(r.label, r.split) for r in images.used} == {
        *((c, s) for c in ("cat", "dog") for s in ("train", "val", "test")),
        (None, "train"),
        (None, "test"),
    }
    assert images.select_split("val").classes == ("cat", "dog")
    assert len(images.select_split("test").rows) == 3


def test_parts_without_class_folders_have_no_labels(tmp_path):
    plant(tmp_path, "train/1.png", "test/1.png")
    assert {(r.label, r.split) for r in read_images(tmp_path).used} == {
        (None, "train"),
        (None, "test"),
    }


def test_a_train_is_a_vehicle_among_vehicles(tmp_path):
    plant(tmp_path, "car/1.png", "train/1.png", "plane/1.png")
    assert read_images(tmp_path).classes == ("car", "plane", "train")


@pytest.mark.parametrize(
    "paths", [("train/cat/1.png", "extra/1.png"), ("cat/1.png", "dog/1.png", "test/1.png")]
)
def test_parts_beside_other_folders_are_not_guessed(tmp_path, paths):
    plant(tmp_path, *paths)
    with pytest.raises(InputError, match="splits or classes"):
        read_images(tmp_path)


def test_system_files_are_ignored_and_select_triples(tmp_path):
    paths = (
        "cat/.DS_Store",
        "Thumbs.db",
        "desktop.ini",
        "cat/._1.png",
        "__MACOSX/cat/1.png",
        ".git/HEAD",
    )
    plant(tmp_path, "cat/1.png", "cat/.hidden.png", *paths)
    images = read_images(tmp_path)
    assert {p for p, _, _ in select_triples(images, "ignored")} == set(paths)
    assert {p for p, _, _ in select_triples(images)} == {"cat/1.png", "cat/.hidden.png"}
    assert not images.refused


def test_a_missing_folder_an_empty_one_and_one_without_images(tmp_path):
    with pytest.raises(InputError, match=r"no folder or file .*nowhere"):
        read_images(tmp_path / "nowhere")
    with pytest.raises(NoImages, match="is empty"):
        read_images(tmp_path)
    (tmp_path / "a.txt").write_text("hello")
    (tmp_path / "b.png").write_text("")
    (tmp_path / "c.png").write_text("")
    with pytest.raises(NoImages, match=r"none of the 3 files .*2 empty, 1 not an image"):
        read_images(tmp_path)


def test_columns_are_not_for_folders(tmp_path):
    plant(tmp_path, "cat/1.png")
    with pytest.raises(InputError, match="for tables"):
        read_images(tmp_path, label_column="kind")
    with pytest.raises(InputError, match="labels= is for a list"):
        read_images(tmp_path, labels=["cat"])


def test_odd_names_are_kept_to_the_letter(tmp_path):
    names = [
        "with space.png",
        "🐈‍⬛ chat.png",
        "#hash%20.png",
        "a" * 200 + ".png",
        "ok.PNG.bak",
        "日本.png",
    ]
    plant(tmp_path, *(f"gros chat 🐱/{name}" for name in names))
    images = read_images(tmp_path)
    assert {Path(r.path).name for r in images.used} == set(names)
    assert all(images.path_of(r).is_file() for r in images.used)


def test_a_name_that_is_no_utf8_goes_through_json_and_back(tmp_path):
    name = b"cat/caf\xe9.png"
    try:
        (tmp_path / "cat").mkdir()
        with open(os.fsencode(tmp_path) + b"/" + name, "wb") as file:
            file.write(png())
    except OSError:
        pytest.skip("this file system takes no such name")
    if os.fsdecode(name).encode("utf-8", "surrogateescape") != name:
        pytest.skip("this system has no such names")
    images = read_images(tmp_path)
    assert os.fsencode(images.used[0].path) == name
    images.save(tmp_path / "intake.json")
    again = type(images).from_json(json.loads((tmp_path / "intake.json").read_text()))
    assert again == images
    assert again.path_of(again.used[0]).read_bytes() == images.path_of(images.used[0]).read_bytes()
    images.summarize()[0][2].encode("utf-8")  # what is shown can be printed


def test_a_tree_deeper_than_the_recursion_limit(tmp_path):
    deep = "d/" * 350
    plant(tmp_path, f"{deep}x.png")
    before, frames = sys.getrecursionlimit(), len(inspect.stack())
    sys.setrecursionlimit(frames + 250)
    try:
        images = read_images(tmp_path)
    finally:
        sys.setrecursionlimit(before)
        (tmp_path / deep / "x.png").unlink()  # pytest's own cleaning up is recursive
        for k in range(350, 0, -1):
            (tmp_path / ("d/" * k)).rmdir()
    assert select_triples(images) == {(f"{deep}x.png", "d", "train")}


def link(at, to):
    try:
        at.symlink_to(to, target_is_directory=True)
    except OSError:
        pytest.skip("this system makes no links")


def test_links_are_followed_and_loops_end(tmp_path):
    data = tmp_path / "data"
    plant(tmp_path, "elsewhere/1.png", "data/dog/1.png")
    link(data / "cat", tmp_path / "elsewhere")
    link(data / "dog" / "up", data)
    link(data / "itself", data / "itself")
    link(data / "dog" / "gone.png", data / "nothing.png")
    images = read_images(data)
    assert select_triples(images) == {("cat/1.png", "cat", "train"), ("dog/1.png", "dog", "train")}
    assert {(r.path, r.reason) for r in images.refused} == {
        ("dog/up", "unreadable"),
        ("itself", "unreadable"),
        ("dog/gone.png", "missing"),
    }
    assert "nothing.png" in next(r.detail for r in images.refused if r.reason == "missing")


def test_folders_that_all_link_to_one_another_do_not_explode(tmp_path):
    names = [f"f{i}" for i in range(9)]
    plant(tmp_path, *(f"{name}/1.png" for name in names))
    for a in names:
        for b in names:
            link(tmp_path / a / f"to-{b}", tmp_path / b)
    rows = list_files(tmp_path)
    assert len(rows) < 2000  # 9 folders, n! paths
    assert sum(str(r).endswith(os.sep + os.path.join(n, "1.png")) for n in names for r in rows) >= 9


def test_a_folder_that_cannot_be_opened_is_a_row(tmp_path, monkeypatch):
    plant(tmp_path, "cat/1.png", "dog/1.png")
    scandir = os.scandir

    def barred(path):
        if Path(path).name == "dog":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", barred)
    images = read_images(tmp_path)
    assert [(r.path, r.reason, r.detail) for r in images.refused] == [
        ("dog", "unreadable", "this folder: Permission denied")
    ]


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("Cat", "cat"),
        ("café", unicodedata.normalize("NFD", "café")),
        ("straße", "STRASSE"),
    ],
)
def test_two_spellings_of_a_class(tmp_path, one, two):
    files = [tmp_path / f"{i}.png" for i in range(3)]
    plant(tmp_path, *(f.name for f in files))
    with pytest.raises(InputError, match="merge_spellings=True") as caught:
        read_images(files, labels=[one, two, two])
    assert f"{one!r} (1" in str(caught.value) or f"{one!a} (1" in str(caught.value)
    assert f"{two!r} (2" in str(caught.value) or f"{two!a} (2" in str(caught.value)
    merged = read_images(files, labels=[one, two, two], merge_spellings=True)
    assert [row.label for row in merged.rows] == [two] * 3


def test_spaces_around_the_name_of_a_folder(tmp_path):
    plant(tmp_path, "cat/1.png", "cat /2.png", " dog/3.png")
    with pytest.raises(InputError, match=r"'cat' .* 'cat '"):
        read_images(tmp_path)
    assert read_images(tmp_path, merge_spellings=True).classes == ("cat", "dog")


def test_different_names_are_not_merged(tmp_path):
    plant(tmp_path, "cat/1.png", "cats/1.png", "c at/1.png")
    assert len(read_images(tmp_path, merge_spellings=True).classes) == 3


def test_a_listing_is_sorted_and_leaves_system_files_out(tmp_path):
    plant(tmp_path, "b.png", "a/2.png", "a/.DS_Store")
    (tmp_path / "notes.txt").write_text("x")
    assert list_files(tmp_path) == [str(tmp_path / p) for p in ("a/2.png", "b.png", "notes.txt")]
    assert list_files(tmp_path / "b.png") == [str(tmp_path / "b.png")]
    assert list_files("nowhere.png") == ["nowhere.png"]


def test_reading_twice_gives_the_same_rows(tmp_path):
    plant(tmp_path, *(f"{c}/{i}.png" for c in "abc" for i in range(50)))
    one, two = read_images(tmp_path), read_images(tmp_path)
    assert one == two
    assert Counter(r.label for r in one.used) == {"a": 50, "b": 50, "c": 50}


def test_folders_without_a_file_are_select_triples(tmp_path):
    for name in ("a", "b", "c/d/e", "train/f", "test/g", "unlabelled", "__MACOSX"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "a" / "1.png").write_bytes(b"")
    (tmp_path / "test" / "g" / "2.png").write_bytes(b"")
    assert find_empty_folders(tmp_path) == ["b/", "c/", "train/"]
    (tmp_path / "train" / "3.png").write_bytes(b"")
    assert find_empty_folders(tmp_path) == ["b/", "c/", "train/f/"]
    (tmp_path / "metadata.csv").write_text("file_name,label\n")
    assert find_empty_folders(tmp_path) == []
