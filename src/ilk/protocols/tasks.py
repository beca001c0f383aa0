"""Classes that arrive one task after the other, with many rows or with a few."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ilk.data import Data
from ilk.errors import InputError
from ilk.protocols.step import Step


def class_tasks(train: Data, test: Data, sizes: Sequence[int], seed: int = 0) -> Iterator[Step]:
    """Steps of `sizes` new classes each, in an order drawn by `seed`; all know the whole list.

    Each step trains on the rows of its new classes alone and is tested on all classes that have
    come so far; `carry` is true from the second on (Zhou et al. 2024, arXiv 2302.03648).

    Raises:
        InputError: `sizes` ask for more classes than there are, or for none; a class has no row to
            learn from; or the two parts name other classes.
    """
    order = _order(train, sizes, seed)
    if train.classes != test.classes:
        raise InputError("the rows to learn from and to answer for name different classes")
    empty = [train.classes[c] for c in order[: sum(sizes)] if not np.any(train.y == c)]
    if empty:
        raise InputError(f"{empty[0]!r} has no row to learn from, so no task can bring it")
    for at, size in zip(np.cumsum((0, *sizes[:-1])), sizes, strict=True):
        new, seen = order[at : at + size], order[: at + size]
        rows = np.flatnonzero(np.isin(test.y, seen))
        yield Step(train.rows(np.isin(train.y, new)), test.rows(rows), rows, carry=bool(at))


def few_shot_increments(
    train: Data, test: Data, base: int, size: int, shots: int, seed: int = 0
) -> Iterator[Step]:
    """A first task of `base` classes with all their rows, then `size` classes of `shots` rows each.

    Raises:
        InputError: No class is left after the base, or one has fewer than `shots` rows.
    """
    left = train.k - base
    if size < 1 or left < 1:
        raise InputError(f"{train.k} classes leave none to add after a base of {base}")
    sizes = [base, *[size] * (left // size), *([left % size] if left % size else [])]
    few = [c for c in _order(train, sizes, seed)[base:] if np.sum(train.y == c) < shots]
    if shots < 1 or few:
        name = train.classes[few[0]] if few else "each class"
        raise InputError(f"{shots} shots cannot be drawn of {name!r}; ask for fewer, at least 1")
    rng = np.random.default_rng(seed)
    for step in class_tasks(train, test, sizes, seed):
        if not step.carry:
            yield step
            continue
        drawn = rng.permutation(len(step.train))
        y = step.train.y[drawn]
        kept = np.concatenate([drawn[y == c][:shots] for c in np.unique(y)])
        yield Step(step.train.rows(np.sort(kept)), step.test, step.rows, carry=True)


def _order(
    data: Data, sizes: Sequence[int], seed: int
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    if not sizes or min(sizes) < 1 or sum(sizes) > data.k:
        raise InputError(f"tasks of {list(sizes)} classes do not fit {data.k} classes")
    return np.random.default_rng(seed).permutation(data.k)
