"""LogME: the evidence of the labels under Bayesian linear regression on the features.

Kaichao You, Yong Liu, Jianmin Wang, Mingsheng Long, 2021, LogME: Practical Assessment of
Pre-trained Models for Transfer Learning, arXiv 2102.11005. For each one-hot column t of the labels,

    w ~ N(0, I / a),  t ~ N(F w, I / b),
    ln p(t | F) = r/2 ln a + n/2 ln b - 1/2 sum_i ln(a + b s_i) - b/2 |F m - t|^2 - a/2 |m|^2
                  - n/2 ln 2 pi

at the a and b that maximize it, per row and averaged over classes. s are the squared singular
values of F and m the posterior mean; `a = g / |m|^2`, `b = (n - g) / |F m - t|^2` with
`g = sum_i b s_i / (a + b s_i)` are iterated to convergence (the authors stop after 11 rounds).
As in the paper, features are not centred, which acts as an intercept.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from ilk.core.data import Labels, one_hot
from ilk.ranking.transferability import Matrix, check_labelled

NAME = "LogME"
INPUT_KIND: Literal["features"] = "features"
MAX_ITER, TOLERANCE = 200, 1e-7
RANK_TOLERANCE = 1e-12  # relative to the largest squared singular value
MIN_RESIDUAL = 1e-12  # relative to |t|^2; bounds the evidence where features fit every label


def score(x: NDArray[Any], y: Labels) -> float:
    """Return the mean log evidence per row, in nats, of features `x [n, d]` for labels `y [n]`.

    Raises:
        NoLabels, InputError: As `check_labelled`.
    """
    f, y = check_labelled(x, y)
    return float(np.mean(compute_log_evidence(f, one_hot(y, int(y.max()) + 1))) / len(f))


def compute_log_evidence(f: Matrix, targets: Matrix) -> Matrix:
    """Return the maximum log evidence of each column of `targets [n, k]`, `[k]`, in nats."""
    s, projections = _decompose(f, targets)
    n, squares = len(f), np.sum(targets**2, axis=0)
    unexplained = np.maximum(squares - projections.sum(0), 0.0)
    a = b = np.ones(targets.shape[1])
    for _ in range(MAX_ITER):
        g, m2, residual = _compute_posterior(s, projections, unexplained, a / b)
        previous = a / b
        a = np.maximum(g, MIN_RESIDUAL) / np.maximum(m2, MIN_RESIDUAL * squares)
        b = np.maximum(n - g, MIN_RESIDUAL * n) / np.maximum(residual, MIN_RESIDUAL * squares)
        if np.max(np.abs(np.log(a / b / previous))) < TOLERANCE:
            break
    _, m2, residual = _compute_posterior(s, projections, unexplained, a / b)
    log_det = np.sum(np.log1p(s[:, None] * b / a), axis=0)
    return np.asarray((n * np.log(b / (2 * np.pi)) - log_det - b * residual - a * m2) / 2)


def _compute_posterior(
    s: Matrix, projections: Matrix, unexplained: Matrix, ratio: Matrix
) -> tuple[Matrix, Matrix, Matrix]:
    """Return effective parameters, |m|^2 and |F m - t|^2 of each column at `ratio = a / b`."""
    s = s[:, None]
    g = np.sum(s / (s + ratio), axis=0)
    m2 = np.sum(s * projections / (s + ratio) ** 2, axis=0)
    return g, m2, unexplained + np.sum(projections * (ratio / (s + ratio)) ** 2, axis=0)


def _decompose(f: Matrix, targets: Matrix) -> tuple[Matrix, Matrix]:
    """Return squared singular values `[r]` and the squared projections of each target, `[r, k]`."""
    n, d = f.shape
    s, v = eigh(f.T @ f if n > d else f @ f.T)
    is_nonzero = s > RANK_TOLERANCE * max(float(s[-1]), np.finfo(float).tiny)
    s, v = s[is_nonzero], v[:, is_nonzero]
    projections = (v.T @ (f.T @ targets)) ** 2 / s[:, None] if n > d else (v.T @ targets) ** 2
    return s, projections
