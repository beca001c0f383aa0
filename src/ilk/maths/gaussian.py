"""Gaussians with a shared covariance: class statistics and the resulting classifier.

Closed forms are computed in float64. The one expensive part, the within-class scatter, is
multiplied in float32 on centred rows and summed in float64 (see `compute_statistics`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.core.linear_models import Linear
from ilk.core.statistics import Statistics
from ilk.maths.covariance import Shrinkage, estimate_covariance, solve
from ilk.maths.pca import orthonormal_basis

Matrix = NDArray[np.float64]

CHUNK_SIZE = 2048  # rows at a time: 6 MB of 768 float32 features


def compute_statistics(
    x: NDArray[Any],
    y: Labels,
    k: int,
    *,
    weight: Matrix | None = None,
    diagonal: bool = False,
    chunk: int = CHUNK_SIZE,
) -> Statistics:
    """Return counts, means and within-class scatter of rows `x [n, d]`.

    Two passes, so that nothing cancels: class means first, then each chunk minus its class means is
    squared in float32 and added in float64. The rounding error left in the means is accumulated on
    the way and subtracted exactly.

    Args:
        x: Rows, `[n, d]`.
        y: Class of each row, `[n]`, 0 to k - 1.
        k: Number of classes.
        weight: How many times each row counts, `[n]`, > 0; None counts each once.
        diagonal: Compute only the diagonal of the scatter, `[d]`.
        chunk: Rows per matrix product.
    """
    counts = np.bincount(y, weight, minlength=k)
    approximate = compute_class_means(x, y, counts, chunk, weight=weight).astype(np.float32)
    d, divisor = x.shape[1], np.sqrt(np.where(counts > 0, counts, 1))[:, None]
    scatter, residual_sums = np.zeros(d if diagonal else (d, d)), np.zeros((k, d))
    for rows in _iterate_chunks(len(x), chunk):
        z = np.asarray(x[rows], np.float32) - approximate[y[rows]]
        part = None if weight is None else weight[rows]
        weighted = z if part is None else z * part.astype(np.float32)[:, None]
        scatter += np.einsum("ij,ij->j", weighted, z) if diagonal else weighted.T @ z
        residual_sums += sum_by_class(z, y[rows], k, part)
    residual_sums /= divisor
    scatter -= (
        np.einsum("ij,ij->j", residual_sums, residual_sums)
        if diagonal
        else residual_sums.T @ residual_sums
    )
    means = approximate + residual_sums / divisor
    return Statistics(counts, means, np.maximum(scatter, 0.0) if diagonal else scatter)


def compute_class_means(
    x: NDArray[Any],
    y: Labels,
    counts: NDArray[Any],
    chunk: int = CHUNK_SIZE,
    *,
    weight: Matrix | None = None,
    transform: Callable[[NDArray[Any]], NDArray[Any]] = np.asarray,
) -> Matrix:
    """Return class means, `[k, d]` float64, accurate to float32; zeros for a class without rows.

    The mean of the first chunk is subtracted first, so that float32 sums keep their digits.

    Args:
        x: Rows, `[n, d]`.
        y: Class of each row, `[n]`.
        counts: Rows of each class, or their total weight, `[k]`.
        chunk: Rows per matrix product.
        weight: How many times each row counts, `[n]`; None counts each once.
        transform: Applied to the rows chunk by chunk; the means are those of its values.
    """
    shift = transform(x[:chunk]).mean(0, dtype=np.float64).astype(np.float32)
    sums = np.zeros((len(counts), x.shape[1]))
    for rows in _iterate_chunks(len(x), chunk):
        part = None if weight is None else weight[rows]
        z = np.asarray(transform(x[rows]), np.float32) - shift
        sums += sum_by_class(z, y[rows], len(counts), part)
    means = shift + sums / np.where(counts > 0, counts, 1)[:, None]
    return np.where(counts[:, None] > 0, means, 0.0)


def sum_by_class(z: NDArray[Any], y: Labels, k: int, weight: Matrix | None = None) -> NDArray[Any]:
    """Return the (weighted) sum of the rows `z [n, d]` of each class `y [n]`, `[k, d]`."""
    from scipy.sparse import csr_array  # slow to import, and a saved classifier does without

    values = np.ones(len(y), np.float32) if weight is None else weight.astype(np.float32)
    return np.asarray(csr_array((values, (y, np.arange(len(y)))), shape=(k, len(y))) @ z)


def _iterate_chunks(n: int, chunk: int) -> Iterator[slice]:
    for start in range(0, n, chunk):
        yield slice(start, start + chunk)


def merge_statistics(a: Statistics, b: Statistics) -> Statistics:
    """Return the statistics of both sets of rows together (Chan, Golub, LeVeque 1979, eq. 2.1)."""
    counts = a.counts + b.counts
    divisor = np.where(counts > 0, counts, 1)
    means = a.means + (b.means - a.means) * (b.counts / divisor)[:, None]
    mean_difference = (a.means - b.means) * np.sqrt(a.counts * b.counts / divisor)[:, None]
    return Statistics(counts, means, a.scatter + b.scatter + mean_difference.T @ mean_difference)


def subtract_statistics(a: Statistics, b: Statistics) -> Statistics:
    """Return the statistics of the rows of `a` without those of `b`, which are among them.

    The inverse of `merge_statistics`; counts that rounding leaves of an empty class become 0.
    """
    counts = a.counts - b.counts
    counts = np.where(counts > 1e-9, counts, 0).astype(a.counts.dtype)
    divisor = np.where(counts > 0, counts, 1)[:, None]
    means = (a.counts[:, None] * a.means - b.counts[:, None] * b.means) / divisor
    means = np.where(counts[:, None] > 0, means, 0.0)
    share = np.where(a.counts > 0, counts * b.counts / np.where(a.counts > 0, a.counts, 1), 0.0)
    mean_difference = (means - b.means) * np.sqrt(share)[:, None]
    return Statistics(counts, means, a.scatter - b.scatter - mean_difference.T @ mean_difference)


def fit_discriminant(
    stats: Statistics, covariance: Matrix, log_prior: Matrix
) -> tuple[Matrix, Matrix]:
    """Return weight `[k, d]` and bias `[k]` of the log posterior, linear in `x - stats.centre`.

    With `m` the class mean minus the centre, the weight is `P m` and the bias
    `log prior - m' P m / 2`. A class without rows gets weight 0 and bias `-inf`.

    Args:
        stats: Statistics of the rows.
        covariance: `[d, d]`, the inverse of P.
        log_prior: `[k]`.
    """
    centred_means = np.where(stats.present[:, None], stats.means - stats.centre, 0.0)
    weight = solve(covariance, centred_means.T).T
    bias = log_prior - 0.5 * np.einsum("kd,kd->k", weight, centred_means)
    return weight, np.where(stats.present, bias, -np.inf)


def fit_linear_discriminant(
    stats: Statistics, shrink: Shrinkage = None, uniform: bool = False
) -> Linear:
    """Return the log posterior of Gaussians with one covariance as a linear classifier.

    Args:
        stats: Statistics of the rows.
        shrink: Shrinkage of the covariance, as in `estimate_covariance`.
        uniform: Assume equal priors for all classes with rows.
    """
    prior, covariance = compute_log_prior(stats, uniform), estimate_covariance(stats, shrink)
    return Linear.from_centred(stats.centre, *fit_discriminant(stats, covariance, prior))


def compute_log_prior(stats: Statistics, uniform: bool = False) -> Matrix:
    """Return log class priors `[k]`, frequencies or equal; `-inf` for a class without rows."""
    prior = stats.present / stats.present.sum() if uniform else stats.counts / stats.n
    out = np.full(len(prior), -np.inf)
    return np.log(prior, where=stats.present, out=out)


def match_spread(reference: Matrix, scores: Matrix, weight: Matrix | None = None) -> float:
    """Return the factor that gives `scores [n, k]` the spread over classes of `reference [n, k]`.

    The spread is the standard deviation over classes, averaged over rows with `weight [n]`.
    """
    spread = float(np.average(scores.std(1), weights=weight))
    return float(np.average(reference.std(1), weights=weight)) / spread if spread > 0 else 1.0


@dataclass(frozen=True, eq=False)
class RowSpan:
    """Rows in coordinates of their span, where a fit to fewer rows than features is cheaper.

    Attributes:
        x: The coordinates, `[n, r]`; the rows themselves where there are as many as features.
        origin: Mean row, `[d]`, or None where the rows are unchanged.
        basis: Orthonormal columns, `[d, r]`, or None.
    """

    x: NDArray[Any]
    origin: Matrix | None = None
    basis: Matrix | None = None

    @classmethod
    def from_rows(cls, x: NDArray[Any]) -> RowSpan:
        """Return the span of rows `[n, d]`."""
        if len(x) >= x.shape[1]:
            return cls(x)
        origin = x.mean(0, dtype=np.float64)
        basis = orthonormal_basis(x - origin)
        return cls((x - origin) @ basis, origin, basis)

    def to_features(
        self, centre: Matrix, weight: Matrix, bias: Matrix
    ) -> tuple[Matrix, Matrix, Matrix]:
        """Return centre `[d]`, weight `[k, d]` and bias `[k]` of a rule in the coordinates."""
        if self.origin is None or self.basis is None:
            return centre, weight, bias
        return self.origin + self.basis @ centre, weight @ self.basis.T, bias
