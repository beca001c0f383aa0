"""LogME: how likely the labels are under Bayesian linear regression on the features.

Kaichao You, Yong Liu, Jianmin Wang, Mingsheng Long, 2021, LogME: Practical Assessment of
Pre-trained Models for Transfer Learning, arXiv 2102.11005. For each one-hot column t of the labels,

    w ~ N(0, I / a),  t ~ N(F w, I / b),
    ln p(t | F) = r/2 ln a + n/2 ln b - 1/2 sum_i ln(a + b s_i) - b/2 |F m - t|^2 - a/2 |m|^2
                  - n/2 ln 2 pi

at the a and b where it is largest, per row and averaged over classes. s are the squared singular
values of F and m the posterior mean; `a = g / |m|^2`, `b = (n - g) / |F m - t|^2` with
`g = sum_i b s_i / (a + b s_i)` are repeated until they stand (the authors stop after 11 rounds).
As in the paper, features are not centred: what gives them an intercept is that they are not.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from ilk.data import Labels, one_hot
from ilk.ranking.contract import Matrix, labelled

NAME = "LogME"
READS: Literal["features"] = "features"
ROUNDS, STANDS = 200, 1e-7
RANK = 1e-12  # of the largest squared singular value, what is rounding
LEAST = 1e-12  # of |t|^2, the least that is left over: features that fit every label are no miracle


def score(x: NDArray[Any], y: Labels) -> float:
    """Mean log evidence a row, in nats, of features `x [n, d]` for labels `y [n]`.

    Raises:
        NoLabels, InputError: As `labelled` says.
    """
    f, y = labelled(x, y)
    return float(np.mean(evidence(f, one_hot(y, int(y.max()) + 1))) / len(f))


def evidence(f: Matrix, targets: Matrix) -> Matrix:
    """Largest log evidence of each column of `targets [n, k]`, `[k]`, in nats."""
    s, along = _axes(f, targets)
    n, squares = len(f), np.sum(targets**2, axis=0)
    left = np.maximum(squares - along.sum(0), 0.0)
    a = b = np.ones(targets.shape[1])
    for _ in range(ROUNDS):
        g, m2, rest = _fit(s, along, left, a / b)
        before = a / b
        a = np.maximum(g, LEAST) / np.maximum(m2, LEAST * squares)
        b = np.maximum(n - g, LEAST * n) / np.maximum(rest, LEAST * squares)
        if np.max(np.abs(np.log(a / b / before))) < STANDS:
            break
    _, m2, rest = _fit(s, along, left, a / b)
    spread = np.sum(np.log1p(s[:, None] * b / a), axis=0)
    return np.asarray((n * np.log(b / (2 * np.pi)) - spread - b * rest - a * m2) / 2)


def _fit(s: Matrix, along: Matrix, left: Matrix, ratio: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """Parameters in effect, |m|^2 and |F m - t|^2 of each column at `ratio = a / b`."""
    s = s[:, None]
    g = np.sum(s / (s + ratio), axis=0)
    m2 = np.sum(s * along / (s + ratio) ** 2, axis=0)
    return g, m2, left + np.sum(along * (ratio / (s + ratio)) ** 2, axis=0)


def _axes(f: Matrix, targets: Matrix) -> tuple[Matrix, Matrix]:
    """Squared singular values `[r]`, and the squared part of each target along each, `[r, k]`."""
    n, d = f.shape
    s, v = eigh(f.T @ f if n > d else f @ f.T)
    kept = s > RANK * max(float(s[-1]), np.finfo(float).tiny)
    s, v = s[kept], v[:, kept]
    along = (v.T @ (f.T @ targets)) ** 2 / s[:, None] if n > d else (v.T @ targets) ** 2
    return s, along
