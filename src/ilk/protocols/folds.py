"""Cross-validation: every labelled row is tested by a model that was not trained on it.

Unlabelled rows are never tested; they are part of every training set, for methods that use them.
Rows of one group (`Data.group`) are never on both sides of a split.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Data, Labels
from ilk.core.errors import InputError
from ilk.maths.folds import assign_folds, count_groups, share_group
from ilk.protocols.step import Step

NEVER_TESTED = -1  # the fold of a row that is never tested


def stratified_folds(
    y: Labels, n_folds: int = 5, seed: int = 0, groups: Labels | None = None
) -> Labels:
    """Return the fold that tests each row, `[n]`: 0 to F - 1, or -1 for a row that only trains.

    Every class is spread over the folds as evenly as possible, so that a fold that tests a class
    also trains on it. F is `n_folds`, or fewer where no class has that many groups. Unlabelled rows
    and the rows of a class with a single group are never tested.

    Args:
        y: Class of each row, `[n]`, -1 where unknown.
        n_folds: Number of folds, >= 2.
        seed: Seed of the shuffle.
        groups: Group of each row, `[n]`; a group lies in one fold. -1 is a group of its own, and
            None makes every row one.

    Raises:
        InputError: If fewer than two folds are requested.
    """
    if n_folds < 2:
        raise InputError(f"cross-validation needs at least 2 folds, and {n_folds} were requested")
    y = np.asarray(y, np.int64)
    counts = _count_groups(y, groups)
    is_tested = (y >= 0) & (counts[np.maximum(y, 0)] > 1)
    fold = np.full(len(y), NEVER_TESTED, np.int64)
    if not is_tested.any():
        return fold
    tested_groups = None if groups is None else groups[is_tested]
    n_made = min(n_folds, int(counts.max()))
    fold[is_tested] = assign_folds(y[is_tested], n_made, seed, tested_groups)
    if groups is not None:  # groups of several classes may leave all of one class in one fold
        for c in np.unique(y[is_tested]):
            if len(np.unique(fold[y == c])) == 1:
                fold[y == c] = NEVER_TESTED
    return fold


def _count_groups(y: Labels, groups: Labels | None) -> Labels:
    """Return the number of groups of each class among labelled rows, `[k]`, at least one entry."""
    is_labelled = y >= 0
    return count_groups(y[is_labelled], None if groups is None else groups[is_labelled])


def describe_fold_limits(
    y: Labels, fold: Labels, n_folds: int, groups: Labels | None = None
) -> str:
    """Describe how cross-validation falls short of the request; "" where it does not.

    Args:
        y: Class of each row, `[n]`, -1 where unknown.
        fold: Fold that tests each row, `[n]`, as `stratified_folds` returns it.
        n_folds: Number of folds requested.
        groups: Group of each row, `[n]`, as for `stratified_folds`.
    """
    counts, unit = _count_groups(y, groups), "image"
    if groups is not None and (groups >= 0).any():
        unit = "group of images"
    units = unit.replace("group", "groups") if " " in unit else f"{unit}s"
    n_single, n_made = int(np.sum(counts == 1)), int(fold.max(initial=NEVER_TESTED)) + 1
    messages = []
    if not n_made:
        return (
            f"every class has a single labelled {unit}: cross-validation is impossible, so nothing "
            f"here was measured; label at least two {units} of each class"
        )
    if n_single == 1:
        messages.append(
            f"one class has a single {unit}: cross-validation cannot test it, it only trains"
        )
    elif n_single:
        messages.append(
            f"{n_single} classes have one {unit} each: cross-validation cannot test them, "
            "they only train"
        )
    if n_made < n_folds:
        messages.append(f"no class has {n_folds} {units}, so there are {n_made} folds")
    return "; ".join(messages)


def cross_validation_steps(data: Data, fold: Labels) -> Iterator[Step]:
    """Yield one step per fold, which trains on every row outside the groups that it tests.

    Args:
        data: Rows, `[n]`.
        fold: Fold that tests each row, `[n]`, -1 for none.

    Raises:
        ValueError: If `fold` has another length than the data.
    """
    for is_train, rows in split_rows(data, fold):
        yield Step(data.take(is_train), data.take(rows), rows)


def split_rows(data: Data, fold: Labels) -> Iterator[tuple[NDArray[np.bool_], Labels]]:
    """Yield the rows of `cross_validation_steps`: which ones train, `[n]`, and which are tested.

    For callers that take the two parts one after the other, to save the memory of one.

    Args:
        data: Rows, `[n]`.
        fold: Fold that tests each row, `[n]`, -1 for none.

    Raises:
        ValueError: If `fold` has another length than the data.
    """
    if np.shape(fold) != (len(data),):
        raise ValueError(f"fold has shape {np.shape(fold)}; {len(data)} items need ({len(data)},)")
    for f in range(int(fold.max(initial=NEVER_TESTED)) + 1):
        rows = np.flatnonzero(fold == f)
        yield ~share_group(data.group, rows), rows
