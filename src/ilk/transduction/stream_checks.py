"""Checks whether rows of a stream may be learned from: jumps, collapses, and a dominating class.

They use what a stream without labels shows: the similarity of its rows to known ones, and how its
predictions are distributed over the classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels

N_NEIGHBOURS = 5  # number of neighbours that define the similarity of a row
TAIL_FRACTION = 0.05  # fraction of the training rows that count as far from the others
MAX_FAR_FRACTION = 0.25  # largest fraction of a stream that may be far
MAX_CLASS_GAIN = 0.3  # largest fraction of the admitted rows that one class may gain
WINDOW, MIN_BATCH = 96, 32  # recent rows of a stream, and the smallest batch
MIN_ROWS = 16  # rows of a stream before it can be checked


def mean_similarity(cosines: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean of the largest cosines of each row, `[n]`, of `cosines [n, m]`.

    `N_NEIGHBOURS` cosines count, or fewer where the others are `-inf`.
    """
    n_neighbours = min(N_NEIGHBOURS, int(np.isfinite(cosines).sum(1).min(initial=N_NEIGHBOURS)))
    return np.asarray(-np.sort(-cosines, axis=1)[:, :n_neighbours].mean(1), np.float64)


def explain_rejection(
    similarity: NDArray[np.float64], predictions: Labels, reference: tuple[float, float], n_new: int
) -> str:
    """Return why the last `n_new` rows of a stream should not be learned from, or "".

    Args:
        similarity: Similarity of the last rows to known ones, `[r]`, oldest first.
        predictions: Their predictions, `[r]`.
        reference: Of the training rows: the similarity that all but `TAIL_FRACTION` have, and the
            largest class prior.
        n_new: Number of rows of the last batch.
    """
    min_similarity, max_proportion = reference
    if len(predictions) < MIN_ROWS:
        return f"there are only {len(predictions)} rows so far; {MIN_ROWS} are needed for a check"
    is_far = similarity < min_similarity
    far_fraction = max(float(is_far.mean()), float(is_far[-max(MIN_BATCH, n_new) :].mean()))
    if far_fraction > MAX_FAR_FRACTION:
        return f"{far_fraction:.0%} of the last rows are far from all known rows"
    top_fraction = float(np.bincount(predictions).max() / len(predictions))
    if top_fraction > (1 + max_proportion) / 2 or top_fraction == 1:
        return (
            f"{top_fraction:.0%} of the last {len(predictions)} rows have the same prediction, "
            "which may be a collapse"
        )
    return ""


def max_class_gain(predictions: Labels, initial: Labels) -> float:
    """Return the largest gain of a class, in [0, 1], from `initial [n]` to `predictions [n]`."""
    k = int(max(predictions.max(), initial.max())) + 1
    gains = np.bincount(predictions, minlength=k) - np.bincount(initial, minlength=k)
    return float(gains.max() / len(predictions))
