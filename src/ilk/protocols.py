"""Ways of cutting data into steps: learn from one part, answer for the other.

A protocol knows no method. Rows without a label are never tested; they go along in every training
part, for the methods that can use them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ilk import folds as parts
from ilk.data import Data, Labels
from ilk.errors import InputError

NEVER = -1  # the fold of a row that is never tested


@dataclass(frozen=True, eq=False)
class Step:
    """Learn from `train`, answer for `test`.

    Attributes:
        rows: Where the test items stand in the data that was cut, `[len(test)]` int64.
        carry: Go on from the model of the step before, rather than afresh.
    """

    train: Data
    test: Data
    rows: Labels
    carry: bool = False


def stratified_folds(y: Labels, folds: int = 5, seed: int = 0) -> Labels:
    """Which fold tests each row, `[n]`: 0 to F - 1, or -1 for a row that only trains.

    Every class is spread over the folds as evenly as it goes, so that each fold that tests a class
    also trains on it. F is `folds`, or fewer when no class has that many rows. Rows without a label
    and rows of a class with a single one are never tested; when there is nothing else, all are -1.

    Raises:
        InputError: Fewer than two folds are asked for.
    """
    if folds < 2:
        raise InputError(f"cross-validation in {folds} folds is none; ask for at least 2")
    y = np.asarray(y, np.int64)
    counts = np.bincount(y[y >= 0], minlength=1)
    tested = (y >= 0) & (counts[np.maximum(y, 0)] > 1)
    fold = np.full(len(y), NEVER, np.int64)
    if tested.any():
        fold[tested] = parts.stratified(y[tested], min(folds, int(counts.max())), seed)
    return fold


def what_folds_miss(y: Labels, fold: Labels, folds: int) -> str:
    """What cross-validation could not do as asked, in a sentence or two; "" when nothing."""
    counts = np.bincount(y[y >= 0])
    single, made = int(np.sum(counts == 1)), int(fold.max(initial=NEVER)) + 1
    told = []
    if not made:
        return (
            "every class has a single labelled image: cross-validation is impossible, so nothing "
            "here was measured; label at least two images of each class"
        )
    if single == 1:
        told.append("one class has a single image: cross-validation cannot test it, it only trains")
    elif single:
        told.append(
            f"{single} classes have one image each: cross-validation cannot test them, "
            "they only train"
        )
    if made < folds:
        told.append(f"no class has {folds} images, so there are {made} folds")
    return "; ".join(told)


def steps(data: Data, fold: Labels) -> Iterator[Step]:
    """One step a fold: train on every row that it does not test.

    Raises:
        ValueError: `fold` has not one entry a row.
    """
    if np.shape(fold) != (len(data),):
        raise ValueError(f"fold has shape {np.shape(fold)}; {len(data)} items need ({len(data)},)")
    for f in range(int(fold.max(initial=NEVER)) + 1):
        rows = np.flatnonzero(fold == f)
        yield Step(data.rows(fold != f), data.rows(rows), rows)


def few_shot(data: Data, shots: int, seed: int = 0) -> Step:
    """Train on `shots` labelled rows of each class drawn at random, test on the other labelled.

    A class with no more than `shots` rows trains with all it has and is not tested.

    Raises:
        InputError: `shots` is below 1.
    """
    if shots < 1:
        raise InputError(f"{shots} shots leave nothing to learn from; ask for at least 1")
    order = np.random.default_rng(seed).permutation(len(data))
    shown = np.zeros(len(data), bool)
    for c in range(data.k):
        shown[order[data.y[order] == c][:shots]] = True
    rows = np.flatnonzero(~shown & (data.y >= 0))
    return Step(data.rows(shown | (data.y < 0)), data.rows(rows), rows)
