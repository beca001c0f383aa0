"""Principal components of features, in whose coordinates a ridge penalty is diagonal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh, qr

RANK_TOLERANCE = 1e-10  # eigenvalues below this fraction of the largest are rounding errors


@dataclass(frozen=True, eq=False)
class PrincipalAxes:
    """`x - centre = scores @ basis.T` with uncorrelated scores.

    Attributes:
        centre: (Weighted) mean row, `[d]` float64.
        basis: Orthonormal columns, `[d, r]` float64, with r at most min(n - 1, d).
        eigenvalues: (Weighted) sum of squares of each column of the scores, `[r]` float64,
            descending.
        scores: `[n, r]`, in the requested float type.
    """

    centre: NDArray[np.float64]
    basis: NDArray[np.float64]
    eigenvalues: NDArray[np.float64]
    scores: NDArray[Any]


def fit_pca(
    x: NDArray[Any], dtype: Any = np.float64, weight: NDArray[np.float64] | None = None
) -> PrincipalAxes:
    """Return the principal axes of rows `x [n, d]`, from the smaller of the two Gram matrices.

    Args:
        x: Rows, `[n, d]`.
        dtype: Float type of the matrix product and of the scores.
        weight: How many times each row counts, `[n]`, > 0; None counts each once.
    """
    n, d = x.shape
    centre = weighted_mean(x, weight)
    z = (x - centre).astype(dtype, copy=False)
    root_weight = None if weight is None else np.sqrt(weight).astype(dtype)[:, None]
    weighted = z if root_weight is None else z * root_weight
    if n > d:
        eigenvalues, vectors = eigh(np.asarray(weighted.T @ weighted, np.float64))
        keep = _select_axes(eigenvalues)
        basis = vectors[:, keep]
        return PrincipalAxes(centre, basis, eigenvalues[keep], z @ basis.astype(dtype))
    weighted = np.asarray(weighted, np.float64)
    eigenvalues, vectors = eigh(weighted @ weighted.T)
    keep = _select_axes(eigenvalues)
    root = np.sqrt(eigenvalues[keep])
    scores = vectors[:, keep] * root
    if root_weight is not None:
        scores = scores / root_weight
    basis = weighted.T @ (vectors[:, keep] / root)
    return PrincipalAxes(centre, basis, eigenvalues[keep], scores.astype(dtype, copy=False))


def weighted_mean(x: NDArray[Any], weight: NDArray[np.float64] | None = None) -> Any:
    """Return the mean over rows of `x [n, ...]` in float64, weighted by `weight [n]` if given."""
    if weight is None:
        return x.mean(0, dtype=np.float64)
    return np.average(np.asarray(x, np.float64), axis=0, weights=weight)


def weighted_variance(x: NDArray[Any], weight: NDArray[np.float64] | None = None) -> Any:
    """Return the variance over rows of `x [n, d]`, `[d]` float64, weighted by `weight [n]`."""
    if weight is None:
        return x.var(0, dtype=np.float64)
    return weighted_mean((np.asarray(x, np.float64) - weighted_mean(x, weight)) ** 2, weight)


def orthonormal_basis(rows: NDArray[Any]) -> NDArray[np.float64]:
    """Return orthonormal columns `[d, r]` whose span contains rows `[n, d]`.

    With fewer rows than features, r = n and a fit to the rows can be done in r dimensions; else the
    result is the identity.
    """
    n, d = rows.shape
    if n >= d:
        return np.eye(d)
    return np.asarray(qr(np.asarray(rows, np.float64).T, mode="economic")[0])


def _select_axes(eigenvalues: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the positions of eigenvalues above rounding error, largest first."""
    largest = max(float(eigenvalues[-1]), 0.0) if len(eigenvalues) else 0.0
    return np.flatnonzero((eigenvalues > RANK_TOLERANCE * largest) & (eigenvalues > 0))[::-1]
