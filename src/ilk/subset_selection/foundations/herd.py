"""Herding: rows whose mean is that of all rows.

Max Welling, 2009, Herding Dynamical Weights to Learn, doi:10.1145/1553374.1553517, in the form of
Sylvestre-Alvise Rebuffi and others, 2017, iCaRL, arXiv 1611.07725, algorithm 4: each row is the one
that brings the mean of those chosen nearest to the mean of all.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ilk.subset_selection.foundations.problem import Problem, Rows


def herd_classes(problem: Problem) -> Rows:
    """Return `per_class` rows of each class, class after class; a small class repeats its rows."""
    chosen = []
    for c in range(problem.n_classes):
        rows = problem.list_rows(c)
        size = min(len(rows), problem.per_class)
        chosen.append(np.resize(rows[herd(problem.features[rows], size)], problem.per_class))
    return np.concatenate(chosen)


def herd(x: NDArray[np.float32], size: int) -> Rows:
    """Return the positions of `size` different rows of `x [n, d]`, in the order of choice.

    With s the sum of the i rows chosen so far and m the mean, the next row v is that of the least
    `|m - (s + v) / (i + 1)|^2`, and so of the least `|v|^2 - 2 v'((i + 1) m - s)`.
    """
    values = x - x.mean(0, dtype=np.float64).astype(x.dtype)  # the mean is now 0
    lengths = np.einsum("ij,ij->i", values, values)
    total = np.zeros(values.shape[1])
    chosen = np.zeros(size, np.int64)
    for i in range(size):
        gaps = lengths + 2 * (values @ total.astype(values.dtype))
        gaps[chosen[:i]] = np.inf
        chosen[i] = np.argmin(gaps)
        total += values[chosen[i]]
    return chosen
