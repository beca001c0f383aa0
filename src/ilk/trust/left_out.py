"""What a rule of class means says of rows that it learnt from, as if it had not.

To take row x of class y with n_y rows out of Gaussians with one covariance C (a times the scatter,
plus what shrinks it) moves the mean of y away from x and takes a rank-one term off C:

    x - m_y' = d n_y / (n_y - 1),  d = x - m_y;     C' = C - h d d',  h = a n_y / (n_y - 1)

so that with P = C^-1 and D_c = (x - m_c)' P (x - m_c), by Sherman and Morrison (1950),

    (x - m_c)' P' (x - m_c) = D_c + h ((x - m_c)' P d)^2 / (1 - h d' P d)

The amount of shrinkage and the degrees of freedom stay those of all rows; they hang on one row of
n by 1 / n.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ilk.data import Labels
from ilk.maths.gaussian import Shrink, Statistics, covariance, log_prior, oas, solve

Matrix = NDArray[np.float64]


def gaussian(
    stats: Statistics,
    x: NDArray[np.floating],
    y: Labels,
    shrink: Shrink = None,
    uniform: bool = False,
) -> Matrix:
    """Log posteriors up to a constant, `[m, k]`, of rows `x [m, d]`, each without itself.

    `y` is -1 for a row that is not among those that `stats` counts. A row that is alone in its
    class leaves it without a mean: its own logit is `-inf`, as that of a class never seen.
    """
    off, means = np.asarray(x, np.float64) - stats.centre, stats.means - stats.centre
    sides = np.vstack([means, off])
    solved = solve(covariance(stats, shrink), sides.T).T
    cross, within = off @ solved[: len(means)].T, means @ solved[: len(means)].T
    own = np.einsum("md,md->m", off, solved[len(means) :])
    far = own[:, None] - 2 * cross + np.diag(within)
    rows = np.flatnonzero(y >= 0)
    c, n = y[rows], stats.counts[y[rows]].astype(np.float64)
    out = far.copy()
    many = n > 1
    grows = np.where(many, n / np.maximum(n - 1, 1), 0.0)
    along = own[rows, None] - cross[rows] - cross[rows, c][:, None] + within[:, c].T
    apart = far[rows, c]
    h = grows * _scatter_weight(stats, shrink)
    out[rows] += (h / np.maximum(1 - h * apart, 1e-12))[:, None] * along**2
    out[rows, c] *= grows**2
    logits = log_prior(stats, uniform) - 0.5 * out
    if not uniform:
        logits[rows, c] += np.log(np.maximum(n - 1, 1) / n)
    logits[rows[~many], c[~many]] = -np.inf
    return np.where(stats.seen, logits, -np.inf)


def _scatter_weight(stats: Statistics, shrink: Shrink) -> float:
    """What the scatter is multiplied by in the covariance."""
    if shrink is None or shrink == "ks":
        return 1 / max(1, stats.n - 1)
    share = oas(stats) if isinstance(shrink, str) else float(shrink)
    return (1 - share) / stats.degrees


def nearest(u: Matrix, y: Labels, means: Matrix, counts: Labels, sharpness: float) -> Matrix:
    """`-t |u - mean_c|^2 / 2` up to a constant, `[m, k]`, own means made without the row.

    As in `gaussian`, `y` is -1 for rows that no mean was made of.
    """
    scores = u @ means.T - 0.5 * np.einsum("kd,kd->k", means, means)
    rows = np.flatnonzero(y >= 0)
    c, n = y[rows], counts[y[rows]].astype(np.float64)[:, None]
    own = (n * means[c] - u[rows]) / np.maximum(n - 1, 1)
    scores[rows, c] = np.einsum("md,md->m", u[rows] - 0.5 * own, own)
    scores[rows[n[:, 0] <= 1], c[n[:, 0] <= 1]] = -np.inf
    return np.where(counts > 0, sharpness * scores, -np.inf)
