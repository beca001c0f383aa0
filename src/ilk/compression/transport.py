"""Optimal transport between two sets of points of equal weight: exact, or smoothed by entropy.

With as many points on both sides, the exact plan is a permutation (an assignment problem). The
smoothed one is found by Sinkhorn's iterations on logarithms (Marco Cuturi, 2013, Sinkhorn
Distances: Lightspeed Computation of Optimal Transport, arXiv 1306.0895): its entries are
`exp((f_i + g_j - c_ij) / r)`, and f and g make rows and columns sum to what they should, in turns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ilk.core.errors import InputError

MAX_ITERATIONS, TOLERANCE = 2000, 1e-9
Matrix = NDArray[np.float64]


def match(cost: Matrix) -> Matrix:
    """Return the exact plan `[n, n]` of a cost `[n, n]`: 1/n at the pairs of least total cost.

    Raises:
        InputError: The cost is not square.
    """
    from scipy.optimize import linear_sum_assignment

    n = len(cost)
    if cost.shape != (n, n):
        raise InputError(f"an assignment needs as many rows as columns, not {cost.shape}")
    plan = np.zeros((n, n))
    plan[linear_sum_assignment(cost)] = 1 / n
    return plan


def transport(cost: Matrix, regularization: float) -> Matrix:
    """Return the plan `[n, m]` of least cost minus entropy, with rows of 1/n and columns of 1/m.

    Args:
        cost: `[n, m]`.
        regularization: Weight of the entropy, > 0, in units of the cost.

    Raises:
        InputError: The regularization is not above 0.
    """
    from scipy.special import logsumexp

    if not regularization > 0:
        raise InputError(f"the regularization is {regularization}; it must be above 0")
    n, m = cost.shape
    kernel = -cost / regularization
    f, g = np.zeros(n), np.zeros(m)
    for _ in range(MAX_ITERATIONS):
        f = -np.log(n) - logsumexp(kernel + g, axis=1)
        new = -np.log(m) - logsumexp(kernel + f[:, None], axis=0)
        change, g = float(np.abs(new - g).max()), new
        if change < TOLERANCE:
            break
    plan: Matrix = np.exp(kernel + f[:, None] + g)
    return plan
