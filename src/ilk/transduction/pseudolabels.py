"""Which unlabelled rows get a label from a classifier's own scores, and in which rounds.

Cristina Menghini, Andrew Delworth, Stephen H. Bach, 2023, Enhancing CLIP with CLIP: Exploring
Pseudolabeling for Limited-Label Prompt Tuning, arXiv 2306.01669. Every class has a leaderboard of
the same length, so that a class which is predicted rarely gets as many pseudo-labels as the others;
a row that finds no place on the board of its best class may enter that of its next best.

    FPL    one round with 16 rows per class
    IFPL   ten rounds with 16 rows per class
    GRIP   round i of R with i / R of all rows, the same number per class

Departure: the published code fills boards in the order of the rows, and what is on a board first
decides what the next row is compared with. Here boards are the stable assignment of rows to classes
(David Gale and Lloyd Shapley, 1962, College Admissions and the Stability of Marriage): a row is off
the board of a class while its score for the class is above that of a row on it only if it is on the
board of a class that it scores higher for. It does not depend on the order of rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import UNLABELLED, Labels
from ilk.core.errors import InputError

M = TypeVar("M")


def fill_leaderboards(scores: NDArray[Any], size: int) -> Labels:
    """Return the class on whose leaderboard each row is, `[n]`, -1 for rows on none.

    Args:
        scores: Comparable between rows and between classes, such as probabilities, `[n, k]`.
        size: Greatest number of rows on a board, >= 1.

    Raises:
        InputError: `size` is less than 1, or a score is not a number.
    """
    if size < 1:
        raise InputError(f"size is {size}; a leaderboard has at least 1 row")
    if np.isnan(scores).any():
        raise InputError("a score is not a number, so no row can be ranked by it")
    n, k = scores.shape
    preferences = np.argsort(-scores, axis=1, kind="stable")
    rank = np.zeros(n, np.int64)  # of the class that a row asks for, or is on the board of
    while True:
        asking = np.flatnonzero(rank < k)
        target = preferences[asking, rank[asking]]
        order = np.lexsort((asking, -scores[asking, target], target))
        sorted_target = target[order]
        place = np.arange(len(order)) - np.searchsorted(sorted_target, sorted_target)
        rejected = asking[order[place >= size]]
        if not len(rejected):
            break
        rank[rejected] += 1
    labels = np.full(n, UNLABELLED, np.int64)
    labels[asking] = target
    return labels


def select_confident(probabilities: NDArray[Any], threshold: float) -> Labels:
    """Return the best class of each row if its probability is at least `threshold`, else -1, `[n]`.

    Kihyuk Sohn and others, 2020, FixMatch, arXiv 2001.07685.

    Args:
        probabilities: `[n, k]`.
        threshold: In [0, 1].

    Raises:
        InputError: The threshold is out of range.
    """
    if not 0 <= threshold <= 1:
        raise InputError(f"threshold is {threshold}; it must lie in [0, 1]")
    is_sure = probabilities.max(1) >= threshold
    return np.where(is_sure, probabilities.argmax(1), UNLABELLED)


def plan_sizes(n: int, k: int, size: int | None = None, rounds: int = 10) -> list[int]:
    """Return the length of the leaderboards in each round.

    Args:
        n: Number of unlabelled rows, >= 1.
        k: Number of classes, >= 1.
        size: Rows per class in every round, >= 1; None lets the boards grow to all rows (GRIP).
        rounds: Number of rounds, >= 1.

    Raises:
        InputError: `size` or `rounds` is less than 1.
    """
    if rounds < 1 or (size is not None and size < 1):
        raise InputError(f"size is {size} and rounds is {rounds}; both must be at least 1")
    if size is not None:
        return [size] * rounds
    return [max(1, -(-n * i // (k * rounds))) for i in range(1, rounds + 1)]


def label_in_rounds(
    probabilities: NDArray[Any],
    sizes: list[int],
    learn: Callable[[Labels, int], M],
    predict: Callable[[M], NDArray[Any]],
) -> M:
    """Return the model of the last round.

    Args:
        probabilities: Of the classifier that gives the first pseudo-labels, `[n, k]`.
        sizes: Length of the leaderboards in each round, as `plan_sizes` returns it.
        learn: Returns a new model, learned from pseudo-labels `[n]` (-1 for none) in a round.
        predict: Returns the probabilities of a model, `[n, k]`.
    """
    model = learn(fill_leaderboards(probabilities, sizes[0]), 0)
    for i, size in enumerate(sizes[1:], 1):
        model = learn(fill_leaderboards(predict(model), size), i)
    return model
