"""The Fréchet distance (FID) between Gaussians fitted to real and to generated images.

Martin Heusel and others, 2017, GANs Trained by a Two Time-Scale Update Rule Converge to a Local
Nash Equilibrium, arXiv 1706.08500, eq. 6, on the features of any encoder:

    d^2 = |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1^1/2 S2 S1^1/2)^1/2

With R1 and R2 triangular and S = R^T R, the last trace is the sum of the singular values of R1
R2^T. This takes no root of a rounding error, and S may be singular, as it is with fewer rows than
features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.errors import InputError

Matrix = NDArray[np.float64]
MAX_PARTS = 4  # the distance is extrapolated from 1 to this many parts of the data


@dataclass(frozen=True, eq=False)
class FittedGaussian:
    """A Gaussian fitted to rows.

    Attributes:
        mean: `[d]`.
        covariance_root: `[r, d]` with `root.T @ root` the unbiased covariance.
    """

    mean: Matrix
    covariance_root: Matrix

    @classmethod
    def fit(cls, x: Any) -> FittedGaussian:
        """Return the Gaussian of rows `[n, d]`, n >= 2.

        Raises:
            InputError: If the rows have another shape or are not finite.
        """
        rows = _check_rows(x)
        mean = rows.mean(0)
        root = np.linalg.qr(rows - mean, mode="r")
        return cls(mean, root / np.sqrt(len(rows) - 1))

    def squared_distance(self, other: FittedGaussian) -> float:
        """Return the squared Fréchet distance to another Gaussian, clipped at 0.

        Raises:
            InputError: If the numbers of features differ.
        """
        from scipy.linalg import svdvals

        if len(self.mean) != len(other.mean):
            raise InputError(
                f"features of width {len(self.mean)} and {len(other.mean)} cannot be compared; "
                "encode both with the same encoder"
            )
        mean_distance = float(np.sum((self.mean - other.mean) ** 2))
        total_variance = float(np.sum(self.covariance_root**2) + np.sum(other.covariance_root**2))
        return max(
            0.0,
            mean_distance
            + total_variance
            - 2 * float(svdvals(self.covariance_root @ other.covariance_root.T).sum()),
        )


def frechet_distance(x: Any, y: Any) -> float:
    """Return the squared Fréchet distance between features `[n, d]` and `[m, d]`, known as FID.

    Its bias is about a constant over the number of rows, so compare only distances of equally many
    rows, or use `extrapolate_distance`.

    Raises:
        InputError: If there are fewer than 2 rows, widths differ, or a value is not finite.
    """
    return FittedGaussian.fit(x).squared_distance(FittedGaussian.fit(y))


def extrapolate_distance(x: Any, y: Any, max_parts: int = MAX_PARTS, seed: int = 0) -> float:
    """Return the distance extrapolated to infinitely many rows; small ones may be below 0.

    Min Jin Chong and David Forsyth, 2020, Effectively Unbiased FID and Inception Score and Where
    to Find Them, arXiv 1911.07023: the distance is linear in one over the number of rows, and is
    read off at 0. Here both sides are split into 1, 2, … `max_parts` parts, and distances are
    averaged over parts, so that every point of the line uses all rows.

    Args:
        x: Features `[n, d]`.
        y: Features `[m, d]`.
        max_parts: Maximum number of parts, >= 2. The smallest part must have more rows than
            features, or the dependence is not linear.
        seed: Seed of the split.

    Raises:
        InputError: As `frechet_distance`, or if a part has no more rows than features.
    """
    x, y = _check_rows(x), _check_rows(y)
    if max_parts < 2:
        raise InputError(f"max_parts is {max_parts}; give at least 2")
    if (smallest := min(len(x), len(y)) // max_parts) <= x.shape[1]:
        raise InputError(
            f"parts of {smallest} rows are too few for {x.shape[1]} features; give more rows, "
            "fewer parts, or fewer features"
        )
    rng = np.random.default_rng(seed)
    x, y = rng.permutation(x), rng.permutation(y)
    part_counts = np.arange(1, max_parts + 1)
    distances = [
        np.mean(
            [
                frechet_distance(a, b)
                for a, b in zip(np.array_split(x, c), np.array_split(y, c), strict=True)
            ]
        )
        for c in part_counts
    ]
    return float(np.polyfit(part_counts, distances, 1)[1])


def split_half_distance(x: Any, n_splits: int = 5, seed: int = 0) -> float:
    """Return the mean distance between two random halves of `x [n, d]` over `n_splits` splits.

    A generator whose distance with n / 2 rows is below this is indistinguishable from real data.

    Raises:
        InputError: If there are fewer than 4 rows, or a value is not finite.
    """
    rows = _check_rows(x)
    if len(rows) < 4 or n_splits < 1:
        raise InputError(
            f"{len(rows)} rows cannot be halved {n_splits} times; give at least 4 rows"
        )
    rng, half = np.random.default_rng(seed), len(rows) // 2
    halves = (rng.permutation(rows) for _ in range(n_splits))
    return float(np.mean([frechet_distance(r[:half], r[half:]) for r in halves]))


def _check_rows(x: Any) -> Matrix:
    rows = np.asarray(x, np.float64)
    if rows.ndim != 2 or len(rows) < 2 or not rows.shape[1]:
        raise InputError(
            f"features of shape {rows.shape} have no spread; give [n, d] with at least 2 rows"
        )
    if not np.isfinite(rows).all():
        raise InputError(
            f"{int((~np.isfinite(rows).all(1)).sum())} of {len(rows)} rows of features hold a "
            "number that is not finite; encode them again, in float32"
        )
    return rows
