"""Herding: rows whose mean stays near the mean of all rows.

Max Welling, 2009, Herding Dynamical Weights to Learn, doi:10.1145/1553374.1553517; as a choice of
exemplars: Sylvestre-Alvise Rebuffi and others, 2017, iCaRL, arXiv 1611.07725, algorithm 4: each row
is the one that brings the mean of those chosen nearest to the mean of all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def herd(x: NDArray[Any], size: int) -> NDArray[np.int64]:
    """Return the positions of `size` different rows of `x [n, d]`, in the order of choice.

    With s the sum of the i rows chosen so far, of rows whose mean is 0, the next row v is that of
    the least `|(s + v) / (i + 1)|^2`, and so of the least `|v|^2 + 2 v's`; ties by position.

    Args:
        x: Rows.
        size: Number of rows, at most n.
    """
    values = x - x.mean(0, dtype=np.float64).astype(x.dtype)
    lengths = np.einsum("ij,ij->i", values, values)
    total = np.zeros(values.shape[1])
    chosen = np.zeros(size, np.int64)
    for i in range(size):
        gaps = lengths + 2 * (values @ total.astype(values.dtype))
        gaps[chosen[:i]] = np.inf
        chosen[i] = np.argmin(gaps)
        total += values[chosen[i]]
    return chosen
