"""Nonnegative factorization in which every factor is alone in some row: its anchor.

    Q = C W     Q [n, m] >= 0 with columns that sum to 1
                C [n, k]      columns sum to 1
                W [k, m]      columns sum to 1

Factorizations of a nonnegative matrix are not unique. If each factor has an anchor, a row of C that
is positive there alone, then that row of Q is a multiple of the factor's row of W, every other row
of Q is a mixture of these, and the factorization is unique up to the order of the factors (Sanjeev
Arora, Rong Ge, Ravi Kannan, Ankur Moitra, 2012, Computing a Nonnegative Matrix Factorization -
Provably, arXiv 1111.0952). Rows that sum to 1 then lie in a simplex with the anchors as corners,
which successive projection finds: the row of the largest norm is a corner, and the others are
projected onto the complement of it (Nicolas Gillis, Stephen A. Vavasis, 2014, Fast and Robust
Recursive Algorithms for Separable Nonnegative Matrix Factorization, arXiv 1208.1237, algorithm 1).

From there, expectation maximization of the likelihood of counts with proportions Q (Thomas Hofmann,
1999, Probabilistic Latent Semantic Analysis, equations 3 to 6) uses all rows, not the anchors
alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
EM_STEPS = 200
MIN_VALUE = 1e-9  # lower bound on entries, so that no factor is lost for good


def find_anchors(rows: Matrix, k: int) -> NDArray[np.int64]:
    """Return the positions of the rows that are the corners of all others, `[k]`, by projection.

    Args:
        rows: Points of a simplex with k corners, each of which is a row, `[n, m]`; n >= k.
        k: Number of corners, at most n.
    """
    residual, anchors = rows.astype(np.float64), np.zeros(k, np.int64)
    norms = np.einsum("nm,nm->n", residual, residual)
    for i in range(k):
        anchors[i] = norms.argmax()
        direction = residual[anchors[i]] / max(float(np.sqrt(norms[anchors[i]])), MIN_VALUE)
        residual = residual - np.outer(residual @ direction, direction)
        norms = np.einsum("nm,nm->n", residual, residual)
        norms[anchors[: i + 1]] = -1.0  # where rows span too little, corners still differ
    return anchors


def factorize_separable(q: Matrix, k: int, steps: int = EM_STEPS) -> tuple[Matrix, Matrix]:
    """Factorize `q` into k factors, from its anchors.

    Args:
        q: Proportions, `[n, m]`, >= 0; columns sum to 1. At least k rows are not 0.
        k: Number of factors.
        steps: Steps of expectation maximization after the anchors, >= 0.

    Returns:
        C `[n, k]` and W `[k, m]`, whose columns sum to 1.

    Raises:
        ValueError: If fewer than k rows are not 0.
    """
    totals = q.sum(1)
    positive = np.flatnonzero(totals > 0)
    if len(positive) < k:
        raise ValueError(f"{len(positive)} rows are not 0, and {k} factors need as many anchors")
    shape = q[positive] / totals[positive, None]
    corners = shape[find_anchors(shape, k)]
    scale = _solve_nonnegative(corners.T, np.ones((q.shape[1], 1)))  # so that columns sum to 1
    w = _normalize_columns(scale * corners)
    c = _normalize_columns(_solve_nonnegative(w.T, q.T).T)
    for _ in range(steps):
        ratio = q / np.maximum(c @ w, MIN_VALUE**2)
        c, w = _normalize_columns(c * (ratio @ w.T)), _normalize_columns(w * (c.T @ ratio))
    return c, w


def _solve_nonnegative(design: Matrix, right: Matrix) -> Matrix:
    """Return nonnegative least-squares solutions `[k, r]` of `design [m, k]`, `right [m, r]`."""
    from scipy.optimize import nnls

    return np.stack([nnls(design, column)[0] for column in right.T], 1)


def _normalize_columns(a: Matrix) -> Matrix:
    """Return `a` with entries of at least `MIN_VALUE` and columns that sum to 1."""
    a = np.maximum(a, MIN_VALUE)
    return np.asarray(a / a.sum(0))
