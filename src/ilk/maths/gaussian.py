"""Gaussians that share one covariance: class statistics, precisions and the rule they give.

Everything closed-form is float64. The one costly part, the within-class scatter, is multiplied in
float32 on rows that were centred first, and summed in float64 (see `class_statistics`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.sparse import csr_array

from ilk.data import Labels

Matrix = NDArray[np.float64]
Shrink = float | str | None
RULES = ("oas", "ks")

CHUNK = 2048  # rows at a time: 6 MB of 768 float32 features


@dataclass(frozen=True, eq=False)
class Statistics:
    """What a Gaussian needs to know of labelled rows, and can be merged with more of.

    Attributes:
        counts: Rows of each class, `[k]` int64; or float64, where rows belong in part.
        means: Mean of each class, `[k, d]` float64; zeros where a class has no row.
        scatter: Within-class sum of squares, `[d, d]` float64 (`[d]` where only its diagonal was
            asked for): the sum over rows of `(x - mean[y]) (x - mean[y])'`.
    """

    counts: NDArray[Any]
    means: Matrix
    scatter: Matrix

    @property
    def n(self) -> int:
        """Number of rows."""
        return round(float(self.counts.sum()))

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Which classes have a row, `[k]`."""
        return self.counts > 0

    @property
    def degrees(self) -> int:
        """Degrees of freedom of the scatter: rows less classes seen, at least 1."""
        return max(1, self.n - int(self.seen.sum()))

    @property
    def centre(self) -> Matrix:
        """Mean of all rows, `[d]`."""
        return np.asarray(self.counts @ self.means / max(1, self.n))


def class_statistics(
    x: NDArray[Any], y: Labels, k: int, *, diagonal: bool = False, chunk: int = CHUNK
) -> Statistics:
    """Counts, means and within-class scatter of rows `x [n, d]` with classes `y [n]`, all >= 0.

    Two passes, so that nothing cancels: class means first, then each chunk less its class means is
    squared in float32 and added in float64. What rounding left over of the means is summed on the
    way and taken off exactly.
    """
    counts = np.bincount(y, minlength=k).astype(np.int64)
    near = class_means(x, y, counts, chunk).astype(np.float32)
    d = x.shape[1]
    scatter, left = np.zeros(d if diagonal else (d, d)), np.zeros((k, d))
    for part in _parts(len(x), chunk):
        z = np.asarray(x[part], np.float32) - near[y[part]]
        scatter += np.einsum("ij,ij->j", z, z) if diagonal else z.T @ z
        left += _sums(z, y[part], k)
    left /= np.sqrt(np.maximum(counts, 1))[:, None]
    scatter -= np.einsum("ij,ij->j", left, left) if diagonal else left.T @ left
    means = near + left / np.sqrt(np.maximum(counts, 1))[:, None]
    return Statistics(counts, means, np.maximum(scatter, 0.0) if diagonal else scatter)


def class_means(x: NDArray[Any], y: Labels, counts: Labels, chunk: int = CHUNK) -> Matrix:
    """Mean of each class, `[k, d]` float64, good to float32; zeros where a class has no row.

    Rows are taken less the first chunk's mean, so that float32 sums keep their digits.
    """
    shift = np.asarray(x[:chunk]).mean(0, dtype=np.float64).astype(np.float32)
    sums = np.zeros((len(counts), x.shape[1]))
    for part in _parts(len(x), chunk):
        sums += _sums(np.asarray(x[part], np.float32) - shift, y[part], len(counts))
    means = shift + sums / np.maximum(counts, 1)[:, None]
    return np.where(counts[:, None] > 0, means, 0.0)


def _sums(z: NDArray[np.float32], y: Labels, k: int) -> NDArray[np.float32]:
    """Sum of the rows of each class, `[k, d]`."""
    ones, rows = np.ones(len(y), np.float32), np.arange(len(y))
    return np.asarray(csr_array((ones, (y, rows)), shape=(k, len(y))) @ z)


def _parts(n: int, chunk: int) -> Iterator[slice]:
    for start in range(0, n, chunk):
        yield slice(start, start + chunk)


def merge(a: Statistics, b: Statistics) -> Statistics:
    """The statistics of both sets of rows together (Chan, Golub, LeVeque 1979, equation 2.1)."""
    counts = a.counts + b.counts
    safe = np.maximum(counts, 1)
    means = a.means + (b.means - a.means) * (b.counts / safe)[:, None]
    apart = (a.means - b.means) * np.sqrt(a.counts * b.counts / safe)[:, None]
    return Statistics(counts, means, a.scatter + b.scatter + apart.T @ apart)


def oas(stats: Statistics, width: int | None = None) -> float:
    """Share in [0, 1] of the sphere that the pooled covariance should take (oracle approximating).

    Chen, Wiesel, Eldar, Hero 2010, Shrinkage Algorithms for MMSE Covariance Estimation,
    doi:10.1109/TSP.2010.2053029, equation 23, in the large-d form that scikit-learn uses, with
    the degrees of freedom in the place of the number of rows. `width` as in `covariance`.
    """
    s = stats.scatter / stats.degrees
    d = width or len(s)
    mu = np.trace(s) / d
    spread = float(np.vdot(s, s)) / d**2
    excess = (stats.degrees + 1) * (spread - mu**2 / d)
    return 1.0 if excess <= 0 else float(min(1.0, (spread + mu**2) / excess))


def shrunk(stats: Statistics, share: float, width: int | None = None) -> Matrix:
    """Unbiased pooled covariance with `share` of it replaced by a sphere of the same trace."""
    s = stats.scatter / stats.degrees
    level = float(np.trace(s)) / (width or len(s))
    if level <= 0:
        level = _apart(stats)
    return (1 - share) * s + share * level * np.eye(len(s))


def checked(shrink: Shrink) -> None:
    """Raise ValueError, with what is allowed, for a shrinkage that is none."""
    named = shrink is None or (isinstance(shrink, str) and shrink in RULES)
    if not named and not (isinstance(shrink, (int, float)) and 0 <= shrink <= 1):
        raise ValueError(f"shrink is {shrink!r}; allowed are 0 to 1, 'oas', 'ks' or None")


def covariance(stats: Statistics, shrink: Shrink = None, width: int | None = None) -> Matrix:
    """The pooled covariance, shrunk as told: a share, "oas", "ks"; None is "ks".

    `width` is the number of features, where the statistics are of the rows' span in them alone.
    """
    if isinstance(shrink, (int, float)):
        return shrunk(stats, shrink, width)
    if shrink == "oas":
        return shrunk(stats, oas(stats, width), width)
    # Theirs times D / (N - 1), so that scores are log-likelihoods and priors weigh in rightly.
    return kubokawa_srivastava(stats, 1) / max(1, stats.n - 1)


def kubokawa_srivastava(stats: Statistics, width: int | None = None) -> Matrix:
    """The empirical-Bayes ridge covariance, `((N-1) S + tr(S) I) / D`, the precision's inverse.

    Kubokawa, Srivastava 2008, doi:10.1016/j.jmva.2008.01.016, as written in Wang et al. 2024,
    arXiv 2402.04087: S is the unbiased covariance of the N class-centred rows, D their width.
    """
    trace = float(np.trace(stats.scatter)) / max(1, stats.n - 1)
    if trace <= 0:
        trace = len(stats.scatter) * _apart(stats)
    return (stats.scatter + trace * np.eye(len(stats.scatter))) / (width or len(stats.scatter))


def _apart(stats: Statistics) -> float:
    """Mean square of class means less the centre: the scale left where no class has two rows."""
    off = (stats.means - stats.centre)[stats.seen]
    return float(np.mean(off**2)) or 1.0


def discriminant(stats: Statistics, covariance: Matrix, log_prior: Matrix) -> tuple[Matrix, Matrix]:
    """Weight `[k, d]` and bias `[k]` of the log posterior in `x - stats.centre`, up to a constant.

    With `m` the class mean less the centre: weight is `P m`, bias is `log prior - m' P m / 2`.
    A class never seen gets weight 0 and bias `-inf`.
    """
    off = np.where(stats.seen[:, None], stats.means - stats.centre, 0.0)
    weight = solve(covariance, off.T).T
    bias = log_prior - 0.5 * np.einsum("kd,kd->k", weight, off)
    return weight, np.where(stats.seen, bias, -np.inf)


def log_prior(stats: Statistics, uniform: bool = False) -> Matrix:
    """Log of the share of each class among rows (or among classes seen); `-inf` where unseen."""
    share = stats.seen / stats.seen.sum() if uniform else stats.counts / stats.n
    out = np.full(len(share), -np.inf)
    return np.log(share, where=stats.seen, out=out)


def even_spread(one: Matrix, other: Matrix) -> float:
    """The factor at which scores `other [n, k]` differ between classes as much as `one` does."""
    spread = float(other.std(1).mean())
    return float(one.std(1).mean()) / spread if spread > 0 else 1.0


def solve(covariance: Matrix, right: Matrix) -> Matrix:
    """`covariance^-1 right` for a covariance that may be singular (a constant feature).

    A ridge of 1e-9 of the mean variance, tenfold as often as needed, keeps the factor real.
    """
    ridge = 1e-9 * max(float(np.trace(covariance)) / len(covariance), 1e-30)
    while True:
        try:
            factor = cho_factor(covariance + ridge * np.eye(len(covariance)), lower=True)
        except LinAlgError:
            ridge *= 10
            continue
        return np.asarray(cho_solve(factor, right))
