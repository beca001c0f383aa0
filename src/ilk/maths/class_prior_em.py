"""Class priors of unlabelled rows by expectation maximization over the priors alone.

Marco Saerens, Patrice Latinne, Christine Decaestecker, 2002, Adjusting the Outputs of a Classifier
to New a Priori Probabilities, doi:10.1162/089976602753284446, equations 2.9 and 2.10.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def estimate_class_priors(
    likelihood: NDArray[np.floating],
    initial: Vector,
    *,
    weight: Vector | None = None,
    pseudo_count: float = 0.0,
    max_iter: int = 2000,
    tolerance: float = 1e-6,
) -> Vector:
    """Return the priors `[k]` under which rows are most likely.

        E    q_i(c) ~ likelihood_i(c) prior(c), rows sum to 1
        M    prior(c) = (sum_i w_i q_i(c) + pseudo_count) / (sum_i w_i + k pseudo_count)

    Args:
        likelihood: p(x | c) up to a factor per row, `[n, k]`, >= 0, n > 0; a row must have a
            positive entry where `initial` is positive.
        initial: Priors of the first E step, `[k]`, sum to 1.
        weight: How many times each row counts, `[n]`, sum > 0; None counts each once.
        pseudo_count: Rows that are added to every class; above 0, no prior becomes 0.
        max_iter: Number of iterations at most.
        tolerance: Change of a prior below which the iteration stops.
    """
    n_rows = len(likelihood) if weight is None else float(weight.sum())
    priors = np.asarray(initial, np.float64)
    for _ in range(max_iter):
        q = likelihood * priors
        q /= q.sum(1, keepdims=True)
        sums = q.sum(0) if weight is None else weight @ q
        updated = (sums + pseudo_count) / (n_rows + pseudo_count * len(priors))
        has_converged = np.abs(updated - priors).max() < tolerance
        priors = updated
        if has_converged:
            break
    return np.asarray(priors)
