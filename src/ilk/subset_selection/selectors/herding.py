"""Herding: rows whose mean stays closest to the mean of their class.

Max Welling, 2009, Herding Dynamical Weights to Learn, doi:10.1145/1553374.1553517; as a choice of
exemplars: Sylvestre-Alvise Rebuffi and others, 2017, iCaRL, arXiv 1611.07725, algorithm 4.

    p_k = argmin_x | mu - 1/k (x + sum_{j<k} p_j) |
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Data
from ilk.subset_selection.selectors.selector import (
    Scores,
    SelectorTags,
    score_by_class,
    standardize,
)


@dataclass(frozen=True)
class Herding(SelectorTags):
    """Greedy matching of the class mean."""

    def score(self, source: Data, _target: Data | None, _seed: int) -> Scores:
        """Return the order of choice within the class, as scores `[n]` in (0, 1]."""
        (x,) = standardize(source.x)
        return score_by_class(source.y, lambda rows: rows[order_by_herding(x[rows])])


def order_by_herding(x: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return all positions of rows `x [n, d]` in the order of choice; ties by position.

    With `r_k = k mu - sum_{j<k} p_j` the k-th row minimizes `|x|^2 - 2 x . r_k`.
    """
    mean, lengths = x.mean(0), np.einsum("ij,ij->i", x, x)
    order, residual = np.zeros(len(x), np.int64), np.zeros(x.shape[1])
    penalty = np.zeros(len(x))  # infinite for rows that are chosen
    for k in range(len(x)):
        residual += mean
        order[k] = np.argmin(lengths - 2 * (x @ residual) + penalty)
        penalty[order[k]] = np.inf
        residual -= x[order[k]]
    return order
