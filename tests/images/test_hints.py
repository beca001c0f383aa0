"""What was probably meant instead of the folder that was given."""

from __future__ import annotations

import pytest

from helpers.noise_images import save_noise
from ilk.core.errors import InputError
from ilk.fitting.config import FitConfig
from ilk.fitting.split import list_classes
from ilk.images import read_images


def draw(root, *paths, start=0):
    for i, path in enumerate(paths, start):
        save_noise(root / path, i)


KINDS = ("cat/1.png", "cat/2.png", "dog/3.png", "dog/4.png")


@pytest.mark.parametrize("wrapper", ["data", "archive/data", "a/b/c"])
@pytest.mark.parametrize("inside", [KINDS, [f"{s}/{p}" for s in ("train", "test") for p in KINDS]])
def test_a_folder_in_a_folder(tmp_path, wrapper, inside):
    draw(tmp_path, *(f"{wrapper}/{path}" for path in inside))
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX/._x").write_text("x")
    (tmp_path / "README.txt").write_text("what this is")
    images = read_images(tmp_path)
    assert images.hint == f"did you mean {tmp_path / wrapper}?"
    assert read_images(tmp_path / wrapper).classes == ("cat", "dog")


def test_a_folder_in_a_folder_is_said_where_two_classes_are_needed(tmp_path):
    draw(tmp_path, *(f"data/{path}" for path in KINDS))
    with pytest.raises(InputError, match=r"only one class, 'data'.*did you mean .*data\?"):
        list_classes(read_images(tmp_path), FitConfig())


@pytest.mark.parametrize("name", ["labels.csv", "train.tsv", "a.jsonl"])
@pytest.mark.parametrize("top", ["", "data/"])
def test_a_table_beside_its_images(tmp_path, name, top):
    paths = [f"images/{p}" for p in KINDS]
    draw(tmp_path, *(top + p for p in paths))
    mark = "\t" if name.endswith("tsv") else ","
    lines = [("path", "label")] + [(p, p.split("/")[1]) for p in paths]
    text = "".join(f"{a}{mark}{b}\n" for a, b in lines)
    if name.endswith("jsonl"):
        text = "".join(f'{{"path": "{a}", "label": "{b}"}}\n' for a, b in lines[1:])
    (tmp_path / top / name).write_text(text)
    assert read_images(tmp_path).hint == f"did you mean {tmp_path / top / name}?"
    draw(
        tmp_path, *(f"{top}masks/{p}" for p in KINDS), start=9
    )  # two classes, "images" and "masks"
    assert read_images(tmp_path).hint == f"did you mean {tmp_path / top / name}?"


def test_a_metadata_table_in_a_folder_in_a_folder(tmp_path):
    draw(tmp_path, "data/1.png", "data/2.png")
    (tmp_path / "data/metadata.csv").write_text("file_name,label\n1.png,a\n2.png,b\n")
    assert read_images(tmp_path).hint == f"did you mean {tmp_path / 'data'}?"


@pytest.mark.parametrize(
    ("listed", "there"),
    [
        ("1.png", "images/1.png"),
        ("1", "images/1.png"),
        ("cat/1.png", "images/cat/1.png"),
        ("wrong/1.png", "images/1.png"),
        ("b", "b.png"),
    ],
)
def test_files_that_a_table_misses_are_looked_for(tmp_path, listed, there):
    draw(tmp_path, there)
    (tmp_path / "t.csv").write_text(f"path,label\n{listed},cat\nnowhere.png,dog\n")
    with pytest.raises(InputError, match=f"there is {there}: write such paths"):
        read_images(tmp_path / "t.csv")


@pytest.mark.parametrize(
    "paths",
    [
        KINDS,
        ("cat/1.png", "cat/2.png"),  # a folder of one class, for a detector
        ("1.png", "2.png"),
        ("unlabelled/cat/1.png", "unlabelled/dog/2.png"),
        ("cat/young/1.png", "dog/2.png"),
    ],
)
def test_nothing_is_guessed_where_nothing_is_odd(tmp_path, paths):
    draw(tmp_path, *paths)
    (tmp_path / "results.csv").write_text("path,label\ngone.png,a\nlost.png,b\n")
    (tmp_path / "numbers.csv").write_text("a,b\n1,2\n")
    assert read_images(tmp_path).hint == ""
