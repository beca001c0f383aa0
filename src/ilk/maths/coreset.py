"""A greedy coreset: few rows such that every row is near one of them.

Ozan Sener, Silvio Savarese, 2018, Active Learning for Convolutional Neural Networks: A Core-Set
Approach, arXiv 1708.00489, algorithm 1: the next row is the one that is farthest from those chosen,
which covers all rows within twice the least possible radius (Teofilo Gonzalez, 1985,
doi:10.1016/0304-3975(85)90224-5). Distances are those of random projections, as in Karsten Roth and
others, 2022, arXiv 2106.08265, algorithm 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]


def select_coreset(x: Rows, size: int, projected: int, seed: int) -> NDArray[np.int64]:
    """Return the positions of `size` rows, in the order of choice.

    The first is the row nearest to the mean; ties are broken by position.

    Args:
        x: Rows, `[n, d]`.
        size: Number of rows to choose, from 1 to n.
        projected: Width of the random projection; rows that are no wider are not projected.
        seed: Seed of the projection.
    """
    y = x - x.mean(0, dtype=np.float64).astype(np.float32)
    if y.shape[1] > projected:
        y = y @ draw_projection(y.shape[1], projected, seed)
    lengths = np.einsum("ij,ij->i", y, y)
    chosen = np.zeros(size, np.int64)
    chosen[0] = np.argmin(lengths)
    nearest = np.full(len(y), np.inf, np.float32)
    for i in range(1, size):
        last = chosen[i - 1]
        np.minimum(nearest, lengths - 2 * (y @ y[last]) + lengths[last], out=nearest)
        nearest[last] = -np.inf  # rounding must not choose a row twice
        chosen[i] = np.argmax(nearest)
    return chosen


def draw_projection(width: int, projected: int, seed: int) -> Rows:
    """Return a random matrix `[width, projected]` that keeps distances in expectation."""
    matrix = np.random.default_rng(seed).standard_normal((width, projected))
    return np.asarray(matrix / np.sqrt(projected), np.float32)
