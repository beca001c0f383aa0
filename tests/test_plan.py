"""Who learns, who is held out, and what is refused before any work is done."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from ilk.errors import InputError, NoImages, NoLabels
from ilk.images import Images, Row
from ilk.plan import Plan, divide, fingerprint


def images(*told: tuple[str | None, str]) -> Images:
    """Used rows with these labels and splits, each of its own content."""
    rows = [
        Row(f"{i}.png", label, split, digest=f"{i:064x}") for i, (label, split) in enumerate(told)
    ]
    return Images(Path("photos"), tuple(rows))


BOTH = [("cat", "train"), ("dog", "train")]


def test_without_parts_everything_learns() -> None:
    parts = divide(images(*BOTH, (None, "train")), Plan())
    assert (len(parts.train), len(parts.held), len(parts.unlabelled)) == (2, 0, 1)
    assert parts.classes == ("cat", "dog")
    assert parts.labels(parts.train + parts.unlabelled).tolist() == [0, 1, -1]


def test_a_test_part_is_held_out_and_a_val_part_beside_it_learns() -> None:
    parts = divide(images(*BOTH, ("cat", "val"), ("dog", "test")), Plan())
    assert [row.split for row in parts.train] == ["train", "train", "val"]
    assert [row.split for row in parts.held] == ["test"]
    assert parts.held_name == "test"


def test_without_a_test_part_the_val_part_is_held_out() -> None:
    parts = divide(images(*BOTH, ("cat", "val")), Plan())
    assert [row.split for row in parts.held] == ["val"]
    assert parts.held_name == "val"


def test_held_out_images_of_kinds_never_learnt_are_kept_apart() -> None:
    parts = divide(images(*BOTH, ("owl", "test"), ("cat", "test")), Plan())
    assert [row.label for row in parts.strange] == ["owl"]
    assert [row.label for row in parts.held] == ["cat"]
    assert "owl" not in parts.classes
    assert parts.counts(parts.held) == [1, 0]


@pytest.mark.parametrize(
    ("told", "error", "says"),
    [
        ([], NoImages, "no file"),
        ([(None, "train")], NoLabels, "zero-shot"),
        ([("cat", "train"), ("cat", "train")], InputError, "only one class"),
        ([("cat", "train"), ("dog", "test")], InputError, "only one class"),
    ],
)
def test_what_cannot_be_learnt_is_refused(
    told: list[tuple[str | None, str]], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        divide(images(*told), Plan())


def test_names_stand_in_for_labels() -> None:
    assert divide(images((None, "train")), Plan(classes=("b", "a"))).classes == ("a", "b")


@pytest.mark.parametrize(
    "wrong",
    [
        {"coverage": 0.0},
        {"coverage": 1.0},
        {"false_alarm": -0.1},
        {"folds": 1},
        {"select": "luck"},
        {"prompts": ("a photo",)},
    ],
)
def test_a_plan_out_of_range_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong)).removesuffix("s")):
        Plan(**wrong)  # type: ignore[arg-type]


def test_the_fingerprint_knows_content_label_and_split_but_no_order() -> None:
    told = [*BOTH, ("cat", "test"), (None, "train")]
    whole = images(*told)
    shuffled = Images(whole.root, tuple(random.Random(0).sample(whole.rows, len(whole.rows))))
    assert fingerprint(shuffled) == fingerprint(whole)
    for other in (
        images(*told[:3]),
        images(("dog", "train"), *told[1:]),
        images(*BOTH, ("cat", "val"), told[3]),
    ):
        assert fingerprint(other) != fingerprint(whole)
