"""Groups of images: where they are read from, and what lies in both train and test."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.archives import write_archive
from helpers.patients import write_patients
from ilk.core.errors import InputError
from ilk.images import Images, count_groups, describe_groups, number_row_groups, read_images
from ilk.images.annotations.groups import check_pattern, find_group

RNG = np.random.default_rng(0)


def make_images(n: int) -> list[np.ndarray]:
    return [RNG.integers(0, 256, (4, 4, 3)).astype(np.uint8) for _ in range(n)]


def plant(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(make_images(1)[0]).save(root / path)


def groups_of(images: Images) -> list[str | None]:
    return [row.group for row in images.rows]


def write_table(root: Path, lines: list[tuple[object, ...]], head: tuple[str, ...]) -> Path:
    with (root / "t.csv").open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([head, *lines])
    return root / "t.csv"


def test_a_column_a_pattern_and_a_list_give_the_same_groups(tmp_path: Path) -> None:
    table = write_patients(tmp_path / "d", 3, 2)
    by_column = read_images(table, group_column="patient")
    by_pattern = read_images(table, group_from=r"(p\d+)_")
    files = [str(tmp_path / "d" / row.path) for row in by_column.rows]
    by_list = read_images(files, groups=[row.group for row in by_column.rows])
    names = ["p000", "p000", "p001", "p001", "p002", "p002"]
    assert groups_of(by_column) == groups_of(by_pattern) == groups_of(by_list) == names
    assert number_row_groups(by_column.rows).tolist() == [0, 0, 1, 1, 2, 2]
    assert Images.from_json(by_column.to_json()).rows == by_column.rows
    (tmp_path / "d" / "labels.csv").rename(tmp_path / "d" / "metadata.csv")
    beside = read_images(tmp_path / "d", group_column="patient")
    assert [r.group for r in beside.used] == names


def test_data_frames_and_numbers(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    plant(tmp_path, "a.png", "b.png", "c.png", "d.png")
    frame = pandas.DataFrame(
        {"path": [str(tmp_path / f"{c}.png") for c in "abcd"], "label": list("xyxy")}
    )
    frame["site"] = [1, 1.0, None, 2]
    assert groups_of(read_images(frame, group_column="site")) == ["1", "1", None, "2"]
    images = make_images(4)
    whole = read_images(images, groups=np.array([1, 1, 2, 2]))
    real = read_images(images, groups=[1.0, 1, 2, float("nan")])
    assert groups_of(whole) == ["1", "1", "2", "2"]
    assert groups_of(real) == ["1", "1", "2", None]
    assert number_row_groups(real.rows).tolist() == [0, 0, 1, -1]


@pytest.mark.parametrize(
    ("pattern", "group"),
    [
        (r"(p\d+)_", "p07"),
        (r"p\d+", "p07"),
        (r"([^/]+)/[^/]+$", "scan 3"),
        (r"(?P<site>\w+)/.*/(?P<who>p\d+)", "berlin/p07"),
        (r"(x)?p07", None),
        (r"q\d+", None),
    ],
)
def test_the_part_of_a_path(pattern: str, group: str | None) -> None:
    assert find_group("berlin/scan 3/p07_2.png", check_pattern(pattern)) == group


def test_paths_that_do_not_match_are_groups_of_their_own(tmp_path: Path) -> None:
    plant(tmp_path, "cat/p1_a.png", "cat/p1_b.png", "dog/p2_a.png", "dog/other.png")
    images = read_images(tmp_path, group_from=r"(p\d)_")
    assert groups_of(images) == ["p1", "p1", None, "p2"]
    counts = count_groups(images.used)
    assert counts is not None
    assert (counts.n_images, counts.n_groups, counts.n_ungrouped) == (4, 3, 1)
    assert (counts.largest, counts.largest_size) == ("p1", 2)
    sizes, others = describe_groups(images.used)
    assert sizes == "4 images of 3 groups; folds and intervals keep a group together"
    assert others == "1 image has no group and is a group of its own: dog/other.png"
    assert describe_groups(read_images(tmp_path).used) == []
    alone = read_images(tmp_path, group_from="[^/]+$")
    assert "change nothing" in describe_groups(alone.used)[0]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"group_from": "(p"}, "not a regular expression"),
        ({"group_from": ""}, "is empty"),
        ({"group_from": "zebra"}, "matches none of the 4 paths"),
        ({"group_column": "who"}, "no column 'who'"),
        ({"group_column": "empty"}, "gives no image a group"),
        ({"group_column": "patient", "group_from": "p"}, "given twice"),
        ({"groups": ["a"] * 4}, "for a list of images"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    tmp_path: Path, settings: dict[str, object], says: str
) -> None:
    plant(tmp_path, "a.png", "b.png", "c.png", "d.png")
    lines = [(f"{c}.png", "x", "p", " ") for c in "abcd"]
    table = write_table(tmp_path, lines, ("path", "label", "patient", "empty"))
    with pytest.raises(InputError, match=says) as error:
        read_images(table, **settings)
    assert "\n" not in str(error.value)


def test_lists_need_one_group_per_image() -> None:
    images = make_images(3)
    wrong = ((["a"], "1 groups for 3 images"), ("abc", "is the text"), ([None] * 3, "fill it in"))
    for groups, says in wrong:
        with pytest.raises(InputError, match=says):
            read_images(images, groups=groups)
    with pytest.raises(InputError, match="which is for tables"):
        read_images(images, group_column="patient")


def test_lines_of_one_image_have_one_group(tmp_path: Path) -> None:
    plant(tmp_path, "a.png", "b.png")
    head = ("path", "label", "who")
    lines = [("a.png", "x", ""), ("a.png", "y", "p1"), ("b.png", "x", "p1")]
    table = write_table(tmp_path, lines, head)
    assert groups_of(read_images(table, group_column="who", multi_label=True)) == ["p1", "p1"]
    write_table(tmp_path, [*lines, ("a.png", "z", "p2")], head)
    with pytest.raises(InputError, match="two groups, 'p1' and 'p2'"):
        read_images(table, group_column="who", multi_label=True)


def test_a_group_in_train_and_test_stays_in_test(tmp_path: Path) -> None:
    plant(
        tmp_path,
        *("train/cat/p1_a.png", "train/cat/p2_a.png", "train/dog/p3_a.png", "val/dog/p4_a.png"),
        *("test/cat/p1_b.png", "test/dog/p4_b.png", "train/unlabelled/p1_c.png"),
    )
    images = read_images(tmp_path, group_from=r"(p\d)_")
    refused = {row.path: row for row in images.refused}
    assert set(refused) == {
        "train/cat/p1_a.png",
        "val/dog/p4_a.png",
        "train/unlabelled/p1_c.png",
    }
    row = refused["train/cat/p1_a.png"]
    assert row.reason == "group in both train and test"
    assert row.detail == "group p1, also test/cat/p1_b.png"
    assert len(read_images(tmp_path).refused) == 0
    held_out = {row.group for row in images.used if row.split == "test"}
    assert not held_out & {row.group for row in images.used if row.split != "test"}


def test_without_a_test_split_the_val_split_is_the_test(tmp_path: Path) -> None:
    plant(tmp_path, "train/cat/p1_a.png", "train/dog/p2_a.png", "val/cat/p1_b.png")
    images = read_images(tmp_path, group_from=r"(p\d)_")
    assert [row.path for row in images.refused] == ["train/cat/p1_a.png"]
    plant(tmp_path, "val/dog/p2_b.png")
    with pytest.raises(InputError, match="nothing would be left to learn from"):
        read_images(tmp_path, group_from=r"(p\d)_")


def test_groups_are_for_images_in_the_order_of_the_caller(tmp_path: Path) -> None:
    write_patients(tmp_path / "a")
    archive = write_archive(
        tmp_path / "a.zip", {p.name: p.read_bytes() for p in (tmp_path / "a").iterdir()}
    )
    for source in (archive, tmp_path / "a", tmp_path / "a/labels.csv", tmp_path / "a/*.png"):
        with pytest.raises(InputError, match="in your order"):
            read_images(str(source), groups=["x"] * 48)
