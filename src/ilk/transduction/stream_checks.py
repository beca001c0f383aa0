"""Checks whether rows of a stream may be learned from: jumps, collapses, and a dominating class.

They use what a stream without labels shows: the similarity of its rows to known ones, how many
predictions are confident, and how they are distributed over the classes.

Similarities of nearest neighbours grow with the number of rows that are searched, so a limit is
always that of a set of rows among each other, and holds for this set alone: a row is near if it is
near the whole memory by the limit of the training rows, or near the rows admitted last by the limit
of those. With the first alone, the larger the training set, the less of a gradual change passes.

The fraction of confident predictions estimates the accuracy (Saurabh Garg, Sivaraman Balakrishnan,
Zachary C. Lipton, Behnam Neyshabur, Hanie Sedghi, 2022, Leveraging Unlabeled Data to Predict
Out-of-Distribution Performance, arXiv 2201.04234): confident is a vote above the threshold that as
many training rows exceed as are classified correctly.
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
MIN_BLOCK, MAX_BLOCK = 32, 200  # rows admitted last that have a limit of their own
MIN_PRECISION = 0.8  # smallest fraction of right ones among confident predictions
MAX_ESTIMATE_DROP = 0.15  # largest drop of the estimated accuracy of a batch
MEMORY_DECAY = 0.7  # weight of earlier batches in the expected accuracy, per MIN_BATCH rows


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
    if top_fraction > (1 + 2 * max_proportion) / 3 or top_fraction == 1:
        return (
            f"{top_fraction:.0%} of the last {len(predictions)} rows have the same prediction, "
            "which may be a collapse"
        )
    return ""


def explain_imprecision(precision: float) -> str:
    """Return why predictions should not be learned from where so few confident ones are right."""
    if precision >= MIN_PRECISION:
        return ""
    return f"only {precision:.0%} of the confident predictions for training rows are right"


def measure_margin(
    cosines: NDArray[Any], min_similarity: float, n_train: int, admitted: NDArray[Any]
) -> NDArray[np.float64]:
    """Return how far the similarity of each row is above its limit, `[n]`; negative for far rows.

    Args:
        cosines: Cosines with the training rows, followed by the admitted ones, `[n, m]`.
        min_similarity: Limit of the training rows.
        n_train: Number of training rows.
        admitted: Admitted unit rows, `[m - n_train, d]`, oldest first.
    """
    margin = mean_similarity(cosines) - min_similarity
    block = np.asarray(admitted[-MAX_BLOCK:], np.float64)
    if len(block) < MIN_BLOCK:
        return margin
    among_block = block @ block.T
    np.fill_diagonal(among_block, -np.inf)
    limit = np.quantile(mean_similarity(among_block), TAIL_FRACTION)
    to_block = mean_similarity(cosines[:, n_train:][:, -MAX_BLOCK:])
    return np.asarray(np.maximum(margin, to_block - limit))


def explain_estimate_drop(is_confident: NDArray[np.bool_], expected: float, n_new: int) -> str:
    """Return why the last `n_new` rows are predicted too poorly to be learned from, or "".

    Args:
        is_confident: Whether each of the last rows has a confident prediction, `[r]`, oldest first.
        expected: Fraction that had in the batches that were learned from.
        n_new: Number of rows of the last batch.
    """
    recent = is_confident[-max(MIN_BATCH, n_new) :]
    estimate = min(float(is_confident.mean()), float(recent.mean()))
    if expected - estimate <= MAX_ESTIMATE_DROP:
        return ""
    return f"the estimated accuracy of the last rows drops from {expected:.0%} to {estimate:.0%}"


def update_expected_accuracy(expected: float, is_confident: NDArray[np.bool_]) -> float:
    """Return the expected fraction of confident rows after a batch `[n]` was learned from."""
    decay = MEMORY_DECAY ** (len(is_confident) / MIN_BATCH)
    return float(decay * expected + (1 - decay) * is_confident.mean())


def max_class_gain(predictions: Labels, initial: Labels) -> float:
    """Return the largest gain of a class, in [0, 1], from `initial [n]` to `predictions [n]`."""
    k = int(max(predictions.max(), initial.max())) + 1
    gains = np.bincount(predictions, minlength=k) - np.bincount(initial, minlength=k)
    return float(gains.max() / len(predictions))
