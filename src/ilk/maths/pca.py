"""Principal components of features, in whose coordinates a ridge penalty is diagonal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHUNK_SIZE = 2048  # rows at a time
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
    if n > d:
        centre, basis, eigenvalues = find_axes(x, dtype, weight)
        scores, narrow_basis = np.empty((n, len(eigenvalues)), dtype), basis.astype(dtype)
        for at in range(0, n, CHUNK_SIZE):
            part = slice(at, at + CHUNK_SIZE)
            scores[part] = (x[part] - centre).astype(dtype, copy=False) @ narrow_basis
        return PrincipalAxes(centre, basis, eigenvalues, scores)
    centre = weighted_mean(x, weight)
    z = (x - centre).astype(dtype, copy=False)
    root_weight = None if weight is None else np.sqrt(weight).astype(dtype)[:, None]
    weighted = np.asarray(z if root_weight is None else z * root_weight, np.float64)
    eigenvalues, vectors = np.linalg.eigh(weighted @ weighted.T)
    keep = select_axes(eigenvalues)
    root = np.sqrt(eigenvalues[keep])
    scores = vectors[:, keep] * root
    if root_weight is not None:
        scores = scores / root_weight
    basis = weighted.T @ (vectors[:, keep] / root)
    return PrincipalAxes(centre, basis, eigenvalues[keep], scores.astype(dtype, copy=False))


def find_axes(
    x: NDArray[Any], dtype: Any = np.float64, weight: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return centre `[d]`, basis `[d, r]` and eigenvalues `[r]`; see `PrincipalAxes`.

    The scores are left to the caller: of many rows they take as much memory as the rows.

    Args:
        x: Rows, `[n, d]`.
        dtype: Float type of the matrix products, whose sums are float64.
        weight: How many times each row counts, `[n]`, > 0; None counts each once.
    """
    centre, gram = weighted_mean(x, weight), np.zeros((x.shape[1], x.shape[1]))
    for at in range(0, len(x), CHUNK_SIZE):
        z = (x[at : at + CHUNK_SIZE] - centre).astype(dtype, copy=False)
        if weight is not None:
            z = z * np.sqrt(weight[at : at + CHUNK_SIZE, None]).astype(dtype)
        gram += z.T @ z
    eigenvalues, vectors = np.linalg.eigh(gram)
    keep = select_axes(eigenvalues)
    return centre, vectors[:, keep], eigenvalues[keep]


def weighted_mean(x: NDArray[Any], weight: NDArray[np.float64] | None = None) -> Any:
    """Return the mean over rows of `x [n, ...]` in float64, weighted by `weight [n]` if given."""
    if weight is None:
        return x.mean(0, dtype=np.float64)
    parts = range(0, len(x), CHUNK_SIZE)
    sums = (weight[at : at + CHUNK_SIZE] @ _flatten(x[at : at + CHUNK_SIZE]) for at in parts)
    return np.reshape(sum(sums) / weight.sum(), x.shape[1:])


def _flatten(x: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(x, np.float64).reshape(len(x), -1)


def weighted_variance(x: NDArray[Any], weight: NDArray[np.float64] | None = None) -> Any:
    """Return the variance over rows of `x [n, d]`, `[d]` float64, weighted by `weight [n]`."""
    mean, total = weighted_mean(x, weight), 0.0
    for at in range(0, len(x), CHUNK_SIZE):
        squares = (np.asarray(x[at : at + CHUNK_SIZE], np.float64) - mean) ** 2
        total = total + (
            squares.sum(0) if weight is None else weight[at : at + CHUNK_SIZE] @ squares
        )
    return total / (len(x) if weight is None else weight.sum())


def orthonormal_basis(rows: NDArray[Any]) -> NDArray[np.float64]:
    """Return orthonormal columns `[d, r]` whose span contains rows `[n, d]`.

    With fewer rows than features, r = n and a fit to the rows can be done in r dimensions; else the
    result is the identity.
    """
    n, d = rows.shape
    if n >= d:
        return np.eye(d)
    return np.asarray(np.linalg.qr(np.asarray(rows, np.float64).T)[0])


def select_axes(eigenvalues: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return positions `[r]` of ascending `eigenvalues [d]` above rounding error, largest first."""
    largest = max(float(eigenvalues[-1]), 0.0) if len(eigenvalues) else 0.0
    return np.flatnonzero((eigenvalues > RANK_TOLERANCE * largest) & (eigenvalues > 0))[::-1]
