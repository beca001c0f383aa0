"""Diverse anchors: rows that are neither like those chosen before nor outliers.

Albert Mohwald, Tomas Jenicek, Ondrej Chum, 2023, Dark Side Augmentation: Generating Diverse Night
Examples for Metric Learning, arXiv 2309.16351, section on diverse anchor mining: the rows that
remain are sorted by their greatest similarity to the chosen ones, and the next is drawn at random
between two quantiles.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.floating[Any]]


def choose_diverse(
    x: Matrix, count: int, rng: np.random.Generator, low: float = 0.2, high: float = 0.8
) -> NDArray[np.int64]:
    """Return different rows of `x`, in the order in which they were chosen, `[count]`.

    Args:
        x: Rows of unit length, `[n, d]`.
        count: How many to choose, 1 to n.
        rng: Draws the first row, and each next one between the quantiles.
        low, high: Quantiles of the greatest similarity, 0 <= low <= high <= 1.
    """
    chosen = np.empty(count, np.int64)
    chosen[0] = rng.integers(len(x))
    greatest = np.full(len(x), -np.inf)
    is_left = np.ones(len(x), bool)
    for i in range(1, count):
        is_left[chosen[i - 1]] = False
        greatest = np.maximum(greatest, x @ x[chosen[i - 1]])
        left = np.flatnonzero(is_left)
        first = min(int(low * len(left)), len(left) - 1)
        last = max(int(np.ceil(high * len(left))), first + 1)
        order = left[np.argsort(greatest[left], kind="stable")]
        chosen[i] = order[rng.integers(first, last)]
    return chosen
