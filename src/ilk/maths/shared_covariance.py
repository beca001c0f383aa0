"""The covariance that classes share, factored in the smaller of two spaces.

With Z the class-centred rows `[n, d]`, each times the root of its weight, every estimate of
`ilk.maths.covariance` is C = a Z'Z + b I. With at least d rows C itself is factored. With fewer,
and G = a ZZ' + b I `[n, n]`, the identity of Woodbury (1950) gives

    C^-1 = (I - a Z' G^-1 Z) / b,    (u - v)' C^-1 (u - v) = (|u - v|^2 - |Lu - Lv|^2) / b

where L v = a^(1/2) R^-1 Z v and R is the Cholesky factor of G. ZZ' has the trace and the sum of
squares of Z'Z, so that the same rules give a and b. Nothing is as large as d x d.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.core.statistics import Statistics
from ilk.maths.covariance import Shrinkage, compute_covariance_terms, solve_triangular
from ilk.maths.gaussian import compute_class_means, compute_statistics

Matrix = NDArray[np.float64]

CHUNK_SIZE = 2048  # rows at a time


@dataclass(frozen=True, eq=False)
class SharedCovariance:
    """`C = a Z'Z + b I` with its Cholesky factor, and the class statistics.

    Attributes:
        stats: Counts and means of the classes; the scatter is Z'Z, or ZZ' where `rows` is given.
        scatter_factor: a >= 0.
        identity_factor: b, > 0 where `rows` is given.
        root: Lower Cholesky factor of C `[d, d]`, or of `a ZZ' + b I`, `[n, n]`.
        rows: Z, `[n, d]`; None where C itself is factored.
    """

    stats: Statistics
    scatter_factor: float
    identity_factor: float
    root: Matrix
    rows: Matrix | None = None

    @classmethod
    def from_statistics(
        cls, stats: Statistics, shrink: Shrinkage, rows: Matrix | None = None
    ) -> SharedCovariance:
        """Return the factored covariance of class statistics.

        Args:
            stats: Statistics, as `compute_smaller_statistics` returns them.
            shrink: Shrinkage, as in `ilk.maths.covariance.estimate_covariance`.
            rows: Class-centred rows, `[n, d]`, where the scatter is that of their products.

        Raises:
            LinAlgError: If the covariance is singular.
        """
        a, b = compute_covariance_terms(stats, shrink, stats.means.shape[1])
        covariance = a * stats.scatter
        covariance[np.diag_indices_from(covariance)] += b
        root: Matrix = np.asarray(np.linalg.cholesky(covariance), np.float64)
        return cls(stats, a, b, root, rows)

    def solve(self, right: Matrix) -> Matrix:
        """Return `C^-1 right`, `[d, m]`, for `right [d, m]`."""
        halfway = self._whiten(right)
        if self.rows is None:
            return solve_triangular(self.root, halfway, transposed=True)
        projected = solve_triangular(self.root, halfway, transposed=True)
        root_factor = np.sqrt(self.scatter_factor)
        return np.asarray((right - root_factor * self.rows.T @ projected) / self.identity_factor)

    def compute_nearest_distances(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Return squared Mahalanobis distances of rows `[n, d]` to the nearest class mean, `[n]`.

        Only classes with rows count.
        """
        centre = self.stats.centre
        means = self.stats.means[self.stats.present] - centre
        white_means = self._whiten(means.T).T
        parts = [
            self._nearest(x[at : at + CHUNK_SIZE] - centre, means, white_means)
            for at in range(0, len(x), CHUNK_SIZE)
        ]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _nearest(self, centred: Matrix, means: Matrix, white_means: Matrix) -> NDArray[np.float64]:
        white = squared_distances(self._whiten(centred.T).T, white_means)
        if self.rows is None:
            return np.asarray(np.maximum(white.min(1), 0.0))
        distances = (squared_distances(centred, means) - white) / self.identity_factor
        return np.asarray(np.maximum(distances.min(1), 0.0))

    def _whiten(self, vectors: Matrix) -> Matrix:
        """Return `R^-1 vectors`, or `a^(1/2) R^-1 Z vectors` where there are rows, `[., m]`."""
        if self.rows is None:
            return solve_triangular(self.root, vectors)
        return solve_triangular(self.root, np.sqrt(self.scatter_factor) * (self.rows @ vectors))


def compute_smaller_statistics(
    x: NDArray[Any], y: Labels, k: int, weight: Matrix | None = None
) -> tuple[Statistics, Matrix | None]:
    """Return class statistics, and the class-centred rows `[n, d]` where n < d (else None).

    With fewer rows than features the scatter is ZZ', `[n, n]`, in place of Z'Z, `[d, d]`.

    Args:
        x: Rows, `[n, d]`.
        y: Class of each row, `[n]`, 0 to k - 1.
        k: Number of classes.
        weight: How many times each row counts, `[n]`, > 0; None counts each once.
    """
    if len(x) >= x.shape[1]:
        return compute_statistics(x, y, k, weight=weight), None
    counts = np.bincount(y, weight, minlength=k)
    means = compute_class_means(x, y, counts, weight=weight)
    centred = np.asarray(x, np.float64) - means[y]
    means = means + compute_class_means(centred, y, counts, weight=weight)  # below float32
    centred = np.asarray(x, np.float64) - means[y]
    rows = centred if weight is None else centred * np.sqrt(weight)[:, None]
    return Statistics(counts, means, rows @ rows.T), rows


def squared_distances(a: Matrix, b: Matrix) -> Matrix:
    """Return squared Euclidean distances `[n, m]` of rows `a [n, d]` and `b [m, d]`."""
    norms = np.einsum("nd,nd->n", a, a)[:, None] + np.einsum("md,md->m", b, b)
    return np.asarray(norms - 2 * a @ b.T)
