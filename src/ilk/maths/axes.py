"""Principal axes of centred features: the coordinates in which a ridge is one number an axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh, qr

RANK = 1e-10  # axes with less than this share of the largest sum of squares are rounding


@dataclass(frozen=True, eq=False)
class Axes:
    """`x - centre = scores @ basis.T`, with scores that are uncorrelated.

    Attributes:
        centre: Mean row, `[d]` float64.
        basis: Orthonormal columns, `[d, r]` float64, r at most min(n - 1, d).
        squares: Sum of squares of each column of the scores, `[r]` float64, falling.
        scores: `[n, r]`, in the float type asked for.
    """

    centre: NDArray[np.float64]
    basis: NDArray[np.float64]
    squares: NDArray[np.float64]
    scores: NDArray[Any]


def principal(x: NDArray[Any], dtype: Any = np.float64) -> Axes:
    """Axes of rows `x [n, d]`, from the smaller of the two Gram matrices."""
    n, d = x.shape
    centre = x.mean(0, dtype=np.float64)
    z = (x - centre).astype(dtype, copy=False)
    if n > d:
        squares, vectors = eigh(np.asarray(z.T @ z, np.float64))
        keep = _kept(squares)
        basis = vectors[:, keep]
        return Axes(centre, basis, squares[keep], z @ basis.astype(dtype))
    squares, vectors = eigh(np.asarray(z, np.float64) @ np.asarray(z, np.float64).T)
    keep = _kept(squares)
    root = np.sqrt(squares[keep])
    scores = vectors[:, keep] * root
    basis = np.asarray(z, np.float64).T @ (vectors[:, keep] / root)
    return Axes(centre, basis, squares[keep], scores.astype(dtype, copy=False))


def span(rows: NDArray[Any]) -> NDArray[np.float64]:
    """Orthonormal columns `[d, r]` that hold all of rows `[n, d]`: their span, or all d axes.

    With fewer rows than features, what is fitted to them can be fitted in r = n dimensions.
    """
    n, d = rows.shape
    if n >= d:
        return np.eye(d)
    return np.asarray(qr(np.asarray(rows, np.float64).T, mode="economic")[0])


def _kept(squares: NDArray[np.float64]) -> NDArray[np.int64]:
    """Positions of the axes that are more than rounding, largest first."""
    largest = max(float(squares[-1]), 0.0) if len(squares) else 0.0
    return np.flatnonzero((squares > RANK * largest) & (squares > 0))[::-1]
