"""Images are split by their role, and invalid settings are refused."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from ilk.core.errors import InputError, NoImages, NoLabels
from ilk.fitting.config import FitConfig
from ilk.fitting.split import fingerprint_images, split_images
from ilk.images import Images, Row


def images(*labels: tuple[str | None, str]) -> Images:
    """Used rows with these labels and splits, each of its own content."""
    rows = [
        Row(f"{i}.png", label, split, digest=f"{i:064x}") for i, (label, split) in enumerate(labels)
    ]
    return Images(Path("photos"), tuple(rows))


BOTH = [("cat", "train"), ("dog", "train")]


def test_without_splits_all_images_are_used_for_training() -> None:
    split = split_images(images(*BOTH, (None, "train")), FitConfig())
    assert (len(split.train), len(split.held_out), len(split.unlabelled)) == (2, 0, 1)
    assert split.classes == ("cat", "dog")
    assert split.encode_labels(split.train + split.unlabelled).tolist() == [0, 1, -1]


def test_the_test_split_is_held_out_and_the_val_split_is_used_for_training() -> None:
    split = split_images(images(*BOTH, ("cat", "val"), ("dog", "test")), FitConfig())
    assert [row.split for row in split.train] == ["train", "train", "val"]
    assert [row.split for row in split.held_out] == ["test"]
    assert split.held_out_name == "test"


def test_without_a_test_split_the_val_split_is_held_out() -> None:
    split = split_images(images(*BOTH, ("cat", "val")), FitConfig())
    assert [row.split for row in split.held_out] == ["val"]
    assert split.held_out_name == "val"


def test_held_out_images_of_novel_classes_are_separated() -> None:
    split = split_images(images(*BOTH, ("owl", "test"), ("cat", "test")), FitConfig())
    assert [row.label for row in split.novel] == ["owl"]
    assert [row.label for row in split.held_out] == ["cat"]
    assert "owl" not in split.classes
    assert split.count_labels(split.held_out) == [1, 0]


@pytest.mark.parametrize(
    ("labels", "error", "says"),
    [
        ([], NoImages, "no file"),
        ([(None, "train")], NoLabels, "a first guess without labels"),
        ([("cat", "train"), ("cat", "train")], InputError, "only one class"),
        ([("cat", "train"), ("dog", "test")], InputError, "only one class"),
    ],
)
def test_images_without_two_classes_are_refused(
    labels: list[tuple[str | None, str]], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        split_images(images(*labels), FitConfig())


def test_class_names_replace_labels() -> None:
    assert split_images(images((None, "train")), FitConfig(classes=("b", "a"))).classes == (
        "a",
        "b",
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"coverage": 0.0},
        {"coverage": 1.0},
        {"false_alarm": -0.1},
        {"folds": 1},
        {"criterion": "luck"},
        {"prompts": ("a photo",)},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong)).removesuffix("s")):
        FitConfig(**wrong)  # type: ignore[arg-type]


def test_the_fingerprint_depends_on_content_label_and_split_but_not_on_order() -> None:
    labels = [*BOTH, ("cat", "test"), (None, "train")]
    whole = images(*labels)
    shuffled = Images(whole.root, tuple(random.Random(0).sample(whole.rows, len(whole.rows))))
    assert fingerprint_images(shuffled) == fingerprint_images(whole)
    for other in (
        images(*labels[:3]),
        images(("dog", "train"), *labels[1:]),
        images(*BOTH, ("cat", "val"), labels[3]),
    ):
        assert fingerprint_images(other) != fingerprint_images(whole)
