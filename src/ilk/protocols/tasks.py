"""Class-incremental learning: new classes in every task, with many rows or few."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ilk.core.data import Data
from ilk.core.errors import InputError
from ilk.protocols.step import Step


def class_tasks(train: Data, test: Data, sizes: Sequence[int], seed: int = 0) -> Iterator[Step]:
    """Yield a step for each of `sizes` new classes, in a random order of classes.

    Each step trains on the rows of its new classes alone and tests on all classes so far;
    `Data.classes` is the whole list throughout, and `warm_start` is true from the second step on
    (Zhou et al. 2024, arXiv 2302.03648).

    Args:
        train: Training rows.
        test: Test rows of the same classes.
        sizes: Number of new classes of each task, >= 1.
        seed: Seed of the order of classes.

    Raises:
        InputError: If `sizes` is empty or exceeds the number of classes, a class has no training
            row, or the two parts have different classes.
    """
    order = _draw_class_order(train, sizes, seed)
    if train.classes != test.classes:
        raise InputError("train and test have different classes; give the same list to both")
    empty = [train.classes[c] for c in order[: sum(sizes)] if not np.any(train.y == c)]
    if empty:
        raise InputError(f"{empty[0]!r} has no training row; remove the class or label some")
    for start, size in zip(np.cumsum((0, *sizes[:-1])), sizes, strict=True):
        new_classes, seen_classes = order[start : start + size], order[: start + size]
        rows = np.flatnonzero(np.isin(test.y, seen_classes))
        yield Step(
            train.take(np.isin(train.y, new_classes)), test.take(rows), rows, warm_start=bool(start)
        )


def few_shot_increments(
    train: Data, test: Data, n_base: int, n_new: int, shots: int, seed: int = 0
) -> Iterator[Step]:
    """Yield a base task of `n_base` classes with all rows, then few-shot tasks of `n_new` classes.

    Args:
        train: Training rows.
        test: Test rows of the same classes.
        n_base: Number of classes of the first task.
        n_new: Number of classes of each further task (the last may have fewer).
        shots: Training rows of each new class.
        seed: Seed of the order of classes and of the rows.

    Raises:
        InputError: If no class is left after the base, or one has fewer than `shots` rows.
    """
    n_remaining = train.k - n_base
    if n_new < 1 or n_remaining < 1:
        raise InputError(f"{train.k} classes leave none to add after a base of {n_base}")
    sizes = [
        n_base,
        *[n_new] * (n_remaining // n_new),
        *([n_remaining % n_new] if n_remaining % n_new else []),
    ]
    short_classes = [
        c for c in _draw_class_order(train, sizes, seed)[n_base:] if np.sum(train.y == c) < shots
    ]
    if shots < 1 or short_classes:
        name = train.classes[short_classes[0]] if short_classes else "each class"
        raise InputError(f"{shots} shots cannot be drawn of {name!r}; ask for fewer, at least 1")
    rng = np.random.default_rng(seed)
    for step in class_tasks(train, test, sizes, seed):
        if not step.warm_start:
            yield step
            continue
        order = rng.permutation(len(step.train))
        y = step.train.y[order]
        shot_rows = np.concatenate([order[y == c][:shots] for c in np.unique(y)])
        yield Step(step.train.take(np.sort(shot_rows)), step.test, step.test_rows, warm_start=True)


def _draw_class_order(
    data: Data, sizes: Sequence[int], seed: int
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    if not sizes or min(sizes) < 1 or sum(sizes) > data.k:
        raise InputError(f"tasks of {list(sizes)} classes do not fit {data.k} classes")
    return np.random.default_rng(seed).permutation(data.k)
