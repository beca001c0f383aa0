"""Average precision, for the rows as they are and for bootstrap draws of them.

    AP = sum_i (R_i - R_{i-1}) P_i

over the distinct scores from high to low, with precision P_i and recall R_i of the rows that score
at least as much; rows with equal scores are one step. Mu Zhu, 2004, Recall, Precision and Average
Precision. A row drawn w times has weight w.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.core.metrics import Interval
from ilk.maths.folds import number_groups
from ilk.maths.iterative_stratification import Targets

Scores = NDArray[np.float64]  # [n, k], nan where a row has no score for a label
Counts = NDArray[np.float32]  # [draws, n], how often each row was drawn

N_DRAWS = 1_000
MAX_DRAWN_ROWS = 4_000_000  # draws times rows, where that allows at least `MIN_DRAWS`
MIN_DRAWS = 200


def average_precision(
    is_positive: NDArray[np.bool_], score: NDArray[np.float64], counts: Counts | None = None
) -> NDArray[np.float64]:
    """Return the average precision of one label in each draw, `[draws]`; nan without positives.

    Args:
        is_positive: Whether the label applies, `[n]`.
        score: Score of each row, `[n]`, higher is more likely.
        counts: How often each draw holds each row, `[draws, n]`; None is every row once.
    """
    order = np.argsort(-score, kind="stable")
    weight = np.ones((1, len(score)), np.float32) if counts is None else counts[:, order]
    is_last = np.append(np.diff(score[order]) != 0, True)
    ends = np.flatnonzero(is_last)[np.cumsum(is_last) - is_last]  # last row with the same score
    positive = np.flatnonzero(is_positive[order])
    if not len(positive):
        return np.full(len(weight), np.nan)
    total = np.cumsum(weight, axis=1, dtype=np.float32)[:, ends[positive]].astype(np.float64)
    own = weight[:, positive].astype(np.float64)
    through = np.searchsorted(positive, ends[positive], side="right") - 1
    true = np.cumsum(own, axis=1)[:, through]
    n_positive = own.sum(1)
    precision = true / np.where(total > 0, total, 1)
    return np.asarray(
        np.where(
            n_positive > 0,
            (own * precision).sum(1) / np.where(n_positive > 0, n_positive, 1),
            np.nan,
        )
    )


def mean_average_precision(
    targets: Targets, scores: Scores, counts: Counts | None = None
) -> NDArray[np.float64]:
    """Return the mean over labels of the average precision in each draw, `[draws]`.

    Labels without a positive row in a draw are left out of its mean; nan if all are.

    Args:
        targets: Whether each label applies, `[n, k]`.
        scores: Score of each row and label, `[n, k]`; nan leaves the row out for the label.
        counts: How often each draw holds each row, `[draws, n]`; None is every row once.
    """
    total = np.zeros(1 if counts is None else len(counts))
    n_labels = np.zeros_like(total)
    for c in range(targets.shape[1]):
        rows = np.isfinite(scores[:, c])
        drawn = counts if counts is None or rows.all() else counts[:, rows]
        values = average_precision(targets[rows, c], scores[rows, c], drawn)
        total += np.nan_to_num(values)
        n_labels += np.isfinite(values)
    return np.where(n_labels > 0, total / np.where(n_labels > 0, n_labels, 1), np.nan)


def draw_counts(
    n: int, n_draws: int = N_DRAWS, seed: int = 0, groups: Labels | None = None
) -> Counts:
    """Return how often each of n rows is drawn in each bootstrap draw, `[draws, n]`.

    Args:
        n: Number of rows.
        n_draws: Number of draws; fewer, down to 200, for very many rows.
        seed: Seed.
        groups: Group of each row, `[n]`, -1 for a group of its own; whole groups are drawn.
    """
    group = np.arange(n) if groups is None else number_groups(groups)
    n_groups = int(group.max(initial=-1)) + 1
    n_draws = min(n_draws, max(MIN_DRAWS, MAX_DRAWN_ROWS // max(n, 1)))
    rng = np.random.default_rng(seed)
    counts = np.empty((n_draws, n_groups), np.float32)
    for draw in counts:
        draw[:] = np.bincount(rng.integers(n_groups, size=n_groups), minlength=n_groups)
    return counts if n_groups == n else counts[:, group]


def estimate_interval(targets: Targets, scores: Scores, counts: Counts) -> Interval:
    """Return the mean average precision with its 95 % bootstrap interval.

    With few positive rows the average precision is too high on average, and that of a draw is too
    high by about as much again. The normal interval around the corrected value (Bradley Efron,
    Robert J. Tibshirani, 1993, An Introduction to the Bootstrap, section 10.6) therefore covers
    the truth more often than the percentiles of the draws; it lies in [0, 1] and holds the value.

    Args:
        targets: Whether each label applies, `[n, k]`.
        scores: Score of each row and label, `[n, k]`.
        counts: Bootstrap draws, `[draws, n]`.
    """
    value = float(mean_average_precision(targets, scores)[0])
    draws = mean_average_precision(targets, scores, counts)
    draws = draws[np.isfinite(draws)]
    if not len(draws):
        return Interval(value, 0.0, 1.0)
    centre, half = 2 * value - float(draws.mean()), 1.96 * float(draws.std())
    return Interval(value, max(0.0, min(centre - half, value)), min(1.0, max(centre + half, value)))
