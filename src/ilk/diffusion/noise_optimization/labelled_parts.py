"""Divide labelled images for the choice of a noise: to optimize it, to choose, to estimate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.core.errors import InputError
from ilk.maths.folds import assign_folds, share_group

MAX_VALIDATION = 400  # images on which noises are chosen; more are only estimated on

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LabelledParts:
    """Positions of the images of each part, sorted.

    Attributes:
        training: Noises are optimized on them.
        validation: Level, epoch and kind of noise are chosen on them.
        test: The rest, on which nothing is chosen; may be empty.
    """

    training: Rows
    validation: Rows
    test: Rows


def divide_images(y: Labels, shots: int, group: Labels | None = None) -> LabelledParts:
    """Divide images with classes `y` `[n]`.

    The first `shots` images of each class are for training. Of the images that share no group with
    them, half are for validation, at most 400. Where this leaves fewer images than classes, a
    quarter of the shots, at least one, is for validation instead.

    Args:
        y: Class indices `[n]`, all >= 0.
        shots: Training images per class, >= 1.
        group: Group of each image, `[n]`, which stays in one part; None makes every image one.

    Raises:
        InputError: There are too few images to hold any out.
    """
    classes = np.unique(y)
    first = [np.flatnonzero(y == c)[:shots] for c in classes]
    training = np.sort(np.concatenate(first))
    is_rest = np.ones(len(y), bool)
    is_rest[training] = False
    if group is not None:
        is_rest &= ~share_group(group, training)
    rest = np.flatnonzero(is_rest)
    fold = assign_folds(y[rest], 2, 0, None if group is None else group[rest])
    validation = rest[fold == 0]
    if len(validation) >= len(classes):
        kept = _take_balanced(validation, y, MAX_VALIDATION)
        in_parts = np.concatenate([training, kept])
        is_test = np.ones(len(y), bool)
        is_test[in_parts] = False
        if group is not None:
            is_test &= ~share_group(group, in_parts)
        return LabelledParts(training, kept, np.flatnonzero(is_test))
    held_out = np.sort(np.concatenate([rows[: max(1, len(rows) // 4)] for rows in first]))
    is_held_out = np.isin(training, held_out)
    if group is not None:
        is_held_out = share_group(group[training], np.flatnonzero(is_held_out))
    if is_held_out.all():
        raise InputError(
            f"{len(y)} images of {len(classes)} classes are too few to optimize a noise on some "
            "and choose on others; give at least 2 images per class"
        )
    return LabelledParts(training[~is_held_out], training[is_held_out], rest)


def _take_balanced(rows: Rows, y: Labels, count: int) -> Rows:
    """Return at most `count` of `rows`, with the classes as balanced as possible, sorted."""
    nth = np.empty(len(rows), np.int64)
    for c in np.unique(y[rows]):
        of_class = y[rows] == c
        nth[of_class] = np.arange(of_class.sum())
    return np.sort(rows[np.argsort(nth, kind="stable")[:count]])
