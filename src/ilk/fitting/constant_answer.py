"""Compare a classifier with one that gives the same answer for every image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ilk.artifacts.evaluation import Evaluation
from ilk.core.data import Labels
from ilk.core.metrics import Probabilities

MIN_GAIN = 0.05  # of the macro accuracy over that of a constant answer, which is 1 / k


def beats_constant_answer(probabilities: Probabilities, y: Labels) -> bool:
    """Return whether predictions are better than the most frequent class for every row.

    They are if more of them are right, or if the macro accuracy is higher by `MIN_GAIN` (with rare
    classes, a useful classifier may be right less often). True if there is nothing to compare.

    Args:
        probabilities: Out-of-fold or held-out probabilities, `[n, k]`; nan for rows without.
        y: Classes, `[n]`; -1 where unknown.
    """
    tested = np.flatnonzero((y >= 0) & np.isfinite(probabilities).all(1))
    counts = np.bincount(y[tested])
    if np.count_nonzero(counts) < 2:
        return True
    is_correct = probabilities[tested].argmax(1) == y[tested]
    if int(is_correct.sum()) > int(counts.max()):
        return True
    recalls = np.bincount(y[tested], is_correct)[counts > 0] / counts[counts > 0]
    return bool(recalls.mean() >= 1 / len(recalls) + MIN_GAIN)


def describe_constant_answer(evaluation: Evaluation, classes: Sequence[str], what: str) -> str:
    """Return a warning if the predictions are no better than a constant answer, else "".

    Args:
        evaluation: Predictions for labelled images.
        classes: Names of the classes, `k` of them.
        what: Which images these are.
    """
    y, probabilities = evaluation.y, evaluation.scored.probabilities
    if beats_constant_answer(probabilities, y):
        return ""
    counts = np.bincount(y)
    return (
        "the classifier is no better than a constant answer: it is right for "
        f"{100 * float((probabilities.argmax(1) == y).mean()):.1f} % of {what}, and "
        f"{classes[int(counts.argmax())]!r} for every image would be right for "
        f"{100 * counts.max() / len(y):.1f} %"
    )
