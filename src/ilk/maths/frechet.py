"""How far generated images lie from real ones: the Fréchet distance of Gaussians fitted to both.

Martin Heusel and others, 2017, GANs Trained by a Two Time-Scale Update Rule Converge to a Local
Nash Equilibrium, arXiv 1706.08500, eq. 6, on the features of any encoder:

    d^2 = |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1^1/2 S2 S1^1/2)^1/2

With R1 and R2 triangular, S = R^T R, the last trace is the sum of the singular values of R1 R2^T.
No root of a rounding error is taken then, and S may be singular, as it is when there are fewer rows
than features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import svdvals

from ilk.errors import InputError

Matrix = NDArray[np.float64]
PARTS = 4  # cuts of the data into so many parts tell how the distance falls with their size


@dataclass(frozen=True, eq=False)
class Gaussian:
    """A Gaussian fitted to rows.

    Attributes:
        mean: `[d]`.
        root: `[r, d]` with `root.T @ root` the unbiased covariance.
    """

    mean: Matrix
    root: Matrix

    @classmethod
    def of(cls, x: Any) -> Gaussian:
        """Fit rows `[n, d]`, n >= 2.

        Raises:
            InputError: They are no such rows, or not finite.
        """
        rows = _rows(x)
        mean = rows.mean(0)
        root = np.linalg.qr(rows - mean, mode="r")
        return cls(mean, root / np.sqrt(len(rows) - 1))

    def distance(self, other: Gaussian) -> float:
        """The squared Fréchet distance to another, >= 0 but for rounding, which is cut off.

        Raises:
            InputError: The other has another number of features.
        """
        if len(self.mean) != len(other.mean):
            raise InputError(
                f"features of {len(self.mean)} and of {len(other.mean)} numbers cannot be compared;"
                " encode both with the same encoder"
            )
        apart = float(np.sum((self.mean - other.mean) ** 2))
        spread = float(np.sum(self.root**2) + np.sum(other.root**2))
        return max(0.0, apart + spread - 2 * float(svdvals(self.root @ other.root.T).sum()))


def frechet_distance(x: Any, y: Any) -> float:
    """The squared Fréchet distance of features `[n, d]` and `[m, d]`, in squared units of them.

    That is what is known as FID. It is too large by about a constant over the number of rows, so
    compare only distances of as many rows, or take `extrapolated`.

    Raises:
        InputError: Fewer than 2 rows, other widths, or a number that is not finite.
    """
    return Gaussian.of(x).distance(Gaussian.of(y))


def extrapolated(x: Any, y: Any, parts: int = PARTS, seed: int = 0) -> float:
    """The distance that infinitely many rows would show; may come out below 0 where it is small.

    Min Jin Chong and David Forsyth, 2020, Effectively Unbiased FID and Inception Score and Where
    to Find Them, arXiv 1911.07023: the distance is a straight line in one over the number of rows,
    read at 0. Here both sides are cut into 1, 2, … `parts` parts, and each cut is the mean over
    its parts, so that every point of the line is made of all rows.

    Args:
        x: Features `[n, d]`.
        y: Features `[m, d]`.
        parts: Most parts, >= 2. The smallest must have more rows than features, or the line bends.
        seed: Draws who is in which part.

    Raises:
        InputError: As `frechet_distance`, and where a part has no more rows than features.
    """
    x, y = _rows(x), _rows(y)
    if parts < 2:
        raise InputError(f"{parts} parts make no line; give at least 2")
    if (least := min(len(x), len(y)) // parts) <= x.shape[1]:
        raise InputError(
            f"parts of {least} rows are too few for {x.shape[1]} features; give more rows, fewer "
            "parts, or features of fewer numbers"
        )
    rng = np.random.default_rng(seed)
    x, y = rng.permutation(x), rng.permutation(y)
    cuts = np.arange(1, parts + 1)
    read = [
        np.mean(
            [
                frechet_distance(a, b)
                for a, b in zip(np.array_split(x, c), np.array_split(y, c), strict=True)
            ]
        )
        for c in cuts
    ]
    return float(np.polyfit(cuts, read, 1)[1])


def floor(x: Any, draws: int = 5, seed: int = 0) -> float:
    """The distance between two halves of `x` `[n, d]`: the mean over `draws` ways to halve it.

    No generator can be told from real data by a distance of n / 2 against n / 2 rows below this.

    Raises:
        InputError: Fewer than 4 rows, or a number that is not finite.
    """
    rows = _rows(x)
    if len(rows) < 4 or draws < 1:
        raise InputError(f"{len(rows)} rows cannot be halved {draws} times; give at least 4 rows")
    rng, half = np.random.default_rng(seed), len(rows) // 2
    halves = (rng.permutation(rows) for _ in range(draws))
    return float(np.mean([frechet_distance(r[:half], r[half:]) for r in halves]))


def _rows(x: Any) -> Matrix:
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
