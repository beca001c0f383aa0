"""Cross-validation: every labelled row is answered for by a model that did not see it.

Rows without a label are never tested; they go along in every training part, for the methods that
can use them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ilk.data import Data, Labels
from ilk.errors import InputError
from ilk.maths import folds as parts
from ilk.protocols.step import Step

NEVER = -1  # the fold of a row that is never tested


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
