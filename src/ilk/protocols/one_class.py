"""One-class classification: train on the rows of a normal class alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ilk.core.data import NO_CLASS_KNOWLEDGE, Data
from ilk.core.errors import InputError, UnknownName
from ilk.maths.folds import share_group
from ilk.protocols.step import Step

CLASS_NAMES = ("normal", "anomalous")


def one_class_split(
    data: Data, normal_class: str, test_fraction: float = 0.3, seed: int = 0
) -> Step:
    """Train on rows of `normal_class`; test on held-out ones (class 0) and all others (class 1).

    Args:
        data: Labelled rows; unlabelled ones are dropped.
        normal_class: Name of the normal class.
        test_fraction: Fraction of its rows that is held out, in (0, 1).
        seed: Seed of the split.

    Raises:
        UnknownName: If there is no such class.
        InputError: If fewer than two rows are normal, no training row is outside the groups of the
            test rows, or `test_fraction` is outside (0, 1).
    """
    if normal_class not in data.classes:
        raise UnknownName("class", normal_class, data.classes)
    if not 0 < test_fraction < 1:
        raise InputError(f"test_fraction is {test_fraction}; give a fraction in (0, 1)")
    is_normal = data.y == data.classes.index(normal_class)
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(is_normal))
    if len(rows) < 2:
        raise InputError(
            f"{normal_class!r} has {len(rows)} rows; the normal class needs at least two"
        )
    n_held_out = max(1, min(len(rows) - 1, round(test_fraction * len(rows))))
    test_rows = np.sort(np.append(rows[:n_held_out], np.flatnonzero(~is_normal & (data.y >= 0))))
    y = np.where(data.y < 0, -1, np.where(is_normal, 0, 1))
    relabelled = replace(data, y=y, classes=CLASS_NAMES, **NO_CLASS_KNOWLEDGE)
    train_rows = np.sort(rows[n_held_out:])
    train_rows = train_rows[~share_group(data.group, test_rows)[train_rows]]
    if not len(train_rows):
        raise InputError(
            f"every training row of {normal_class!r} shares a group with a test row; "
            "hold out a smaller fraction"
        )
    return Step(relabelled.take(train_rows), relabelled.take(test_rows), test_rows)
