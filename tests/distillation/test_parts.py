"""Which images teach, choose, calibrate and judge a student."""

from __future__ import annotations

from hashlib import sha256
from types import SimpleNamespace

import pytest

from ilk.core.errors import InputError
from ilk.distillation.parts import divide_images
from ilk.images import Images
from ilk.images.rows.row import Row

TEACHER = SimpleNamespace(classes=("a", "b"))


def make_rows(n, prefix="", *, split="train", label=True, group=None):
    return [
        Row(
            f"{prefix}{i}.png",
            "ab"[i % 2] if label else None,
            split,
            digest=sha256(f"{prefix}{i}".encode()).hexdigest(),
            group=None if group is None else group(i),
        )
        for i in range(n)
    ]


def divide(*rows, hold_out=0.2, seed=0):
    return divide_images(
        Images(None, tuple(r for part in rows for r in part)), TEACHER, hold_out, seed
    )


@pytest.mark.parametrize(("hold_out", "each"), [(0.2, 20), (0.3, 33), (0.5, 50)])
def test_half_of_what_is_held_out_chooses_and_half_calibrates(hold_out, each):
    parts = divide(make_rows(200), hold_out=hold_out)
    assert len(parts.validation) == pytest.approx(each, abs=2)
    assert len(parts.calibration) == pytest.approx(each, abs=2)
    assert len(parts.train) == 200 - len(parts.validation) - len(parts.calibration)
    assert parts.judged == parts.calibration
    assert {row.label for row in parts.calibration} == {"a", "b"}


def test_a_val_split_chooses_and_a_test_split_judges():
    val, test = make_rows(24, "val", split="val"), make_rows(30, "test", split="test")
    parts = divide(make_rows(200), val, test)
    assert parts.validation == tuple(r for r in val if r in parts.validation) == tuple(val)
    assert set(parts.judged) == set(test)
    assert len(parts.calibration) == pytest.approx(22, abs=3)
    assert len(parts.train) == 200 - sum(r.split == "train" for r in parts.calibration)


def test_images_of_a_group_that_judges_teach_nothing():
    """Not even without a label: the teacher's answer for them is half of one."""
    labelled = make_rows(400, group=lambda i: f"g{i // 4}")
    unlabelled = make_rows(100, "new", label=False, group=lambda i: f"g{i}")
    test = make_rows(30, "test", split="test", group=lambda i: f"g{i}")
    val = make_rows(24, "val", split="val", group=lambda i: f"g{40 + i // 6}")
    parts = divide(labelled, unlabelled, test, val)
    groups = {
        name: {row.group for row in getattr(parts, name)}
        for name in ("train", "validation", "calibration", "test")
    }
    for name, own in groups.items():
        assert own
        for other in groups.keys() - {name}:
            assert not own & groups[other], (name, other)
    assert any(row.label is None for row in parts.train)
    assert sum(row.label is None for row in parts.train) < 100


def test_labels_that_the_teacher_does_not_know_are_left_out():
    strange = [Row("c.png", "c", digest="c"), Row("d.png", "d", digest="d")]
    parts = divide(make_rows(200), strange)
    assert parts.notes == (
        "2 images have labels that are not classes of the teacher (c, d) and are left out",
    )
    assert parts.encode_labels((make_rows(2)[1], make_rows(1, label=False)[0])).tolist() == [1, -1]


def test_too_few_images_say_how_many_are_needed():
    with pytest.raises(
        InputError, match=r"there would be 10 and 10\); label more, or raise --hold"
    ):
        divide(make_rows(100))
    with pytest.raises(InputError, match="label more, at least 80 in total"):
        divide(make_rows(70), hold_out=0.5)
