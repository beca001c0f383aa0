"""Leave-one-out in closed form: class means, and scores of rows, without the row itself.

Leaving out row x of class y, with n_y rows, from Gaussians with one covariance C (a times the
scatter plus a shrinkage term) moves the mean of y away from x and subtracts a rank-one term from C:

    x - m_y' = d n_y / (n_y - 1),  d = x - m_y;     C' = C - h d d',  h = a n_y / (n_y - 1)

so that with P = C^-1 and D_c = (x - m_c)' P (x - m_c), by Sherman and Morrison (1950),

    (x - m_c)' P' (x - m_c) = D_c + h ((x - m_c)' P d)^2 / (1 - h d' P d)

Of a row that counts w times, one copy is left out, or all of it where w < 1: with v = min(w, 1),
n_y / (n_y - 1) becomes n_y / (n_y - v) in the mean and v times that in h.

The shrinkage intensity and the degrees of freedom remain those of all rows; one row of n changes
them by O(1 / n).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.core.statistics import Statistics
from ilk.maths.covariance import (
    Shrinkage,
    compute_covariance_terms,
    estimate_covariance,
    solve,
)
from ilk.maths.gaussian import compute_log_prior

Matrix = NDArray[np.float64]


def left_out_weight(weight: Matrix | None, n: int) -> Matrix:
    """Return the weight that leaving out each of `n` rows removes, `[n]`: one copy, at most.

    Args:
        weight: How many times each row counts, `[n]`; None counts each once.
        n: Number of rows.
    """
    return np.ones(n) if weight is None else np.minimum(weight, 1.0)


def find_rows_with_others(
    y: Labels, counts: NDArray[Any], weight: Matrix | None = None
) -> NDArray[np.int64]:
    """Return the positions of the rows whose class has other rows, `[m]`.

    Args:
        y: Class of each row, `[n]`.
        counts: Rows of each class, or their total weight, `[k]`.
        weight: How many times each row counts, `[n]`; None counts each once.
    """
    return np.flatnonzero(counts[y] > left_out_weight(weight, len(y)) + 1e-9)


def leave_one_out_means(
    x: Matrix, y: Labels, means: Matrix, counts: NDArray[Any], weight: Matrix | None = None
) -> Matrix:
    """Return the mean of the class of each row without the row, `[n, d]`.

    Args:
        x: Rows whose class has others, `[n, d]`.
        y: Class of each row, `[n]`.
        means: Class means, `[k, d]`.
        counts: Rows of each class, or their total weight, `[k]`.
        weight: How many times each row counts, `[n]`; None counts each once.
    """
    n, one = counts[y, None], left_out_weight(weight, len(y))[:, None]
    return np.asarray((n * means[y] - one * x) / (n - one))


def compute_gaussian_logits(
    stats: Statistics,
    x: NDArray[np.floating],
    y: Labels,
    shrink: Shrinkage = None,
    uniform: bool = False,
    *,
    n_features: int | None = None,
    weight: Matrix | None = None,
) -> Matrix:
    """Return log posteriors up to a constant, `[m, k]`, each row left out of the Gaussians.

    The logit of a row's own class is `-inf` if the class has no other row.

    Args:
        stats: Counts, means and scatter of all rows, for k classes.
        x: Rows, `[m, d]`.
        y: Their classes, `[m]`; -1 for a row that `stats` does not count.
        shrink: Shrinkage of the covariance, as in `ilk.maths.covariance.estimate_covariance`.
        uniform: Assume equal priors for all classes with rows.
        n_features: Number of features, where rows are coordinates in their span.
        weight: How many times each row counts, `[m]`; None counts each once.
    """
    centred_x, means = np.asarray(x, np.float64) - stats.centre, stats.means - stats.centre
    directions = np.vstack([means, centred_x])
    solved = solve(estimate_covariance(stats, shrink, n_features), directions.T).T
    cross, within = centred_x @ solved[: len(means)].T, means @ solved[: len(means)].T
    own = np.einsum("md,md->m", centred_x, solved[len(means) :])
    squared_distances = own[:, None] - 2 * cross + np.diag(within)
    rows = np.flatnonzero(y >= 0)
    c, n = y[rows], stats.counts[y[rows]].astype(np.float64)
    out = squared_distances.copy()
    one = left_out_weight(weight, len(x))[rows]
    has_others = n > one + 1e-9
    left = np.where(has_others, n - one, 1.0)
    count_ratio = np.where(has_others, n / left, 0.0)
    projections = own[rows, None] - cross[rows] - cross[rows, c][:, None] + within[:, c].T
    own_distance = squared_distances[rows, c]
    h = one * count_ratio * compute_covariance_terms(stats, shrink, n_features)[0]
    out[rows] += (h / np.maximum(1 - h * own_distance, 1e-12))[:, None] * projections**2
    out[rows, c] *= count_ratio**2
    logits = compute_log_prior(stats, uniform) - 0.5 * out
    if not uniform:
        logits[rows, c] += np.log(left / n)
    logits[rows[~has_others], c[~has_others]] = -np.inf
    return np.where(stats.present, logits, -np.inf)


def compute_nearest_mean_logits(
    u: Matrix, y: Labels, means: Matrix, counts: Labels, inverse_temperature: float
) -> Matrix:
    """Return `-t |u - mean_c|^2 / 2` up to a constant, `[m, k]`, each row left out of its mean.

    Args:
        u: Rows, `[m, d]`.
        y: Their classes, `[m]`; -1 for a row that no mean includes.
        means: Class means, `[k, d]`.
        counts: Rows of each class, `[k]`.
        inverse_temperature: t > 0.
    """
    scores = u @ means.T - 0.5 * np.einsum("kd,kd->k", means, means)
    rows = np.flatnonzero(y >= 0)
    c, n = y[rows], counts[y[rows]].astype(np.float64)[:, None]
    own = (n * means[c] - u[rows]) / np.maximum(n - 1, 1)
    scores[rows, c] = np.einsum("md,md->m", u[rows] - 0.5 * own, own)
    scores[rows[n[:, 0] <= 1], c[n[:, 0] <= 1]] = -np.inf
    return np.where(counts > 0, inverse_temperature * scores, -np.inf)
