"""One Gaussian around what is normal; how far from it a row is says how odd the row is.

Oliver Rippel, Patrick Mertens, Dorit Merhof, 2020, Modeling the Distribution of Normal Data in
Pre-Trained Deep Features for Anomaly Detection, arXiv 2005.14140; the shrinkage: Olivier Ledoit,
Michael Wolf, 2004, doi:10.1016/S0047-259X(03)00096-4.

    M(x)^2 = (x - mean)' P (x - mean),  P^-1 = (1 - s) S + s tr(S) I / d

with S the covariance of normal rows and s by Ledoit and Wolf. If x is Gaussian, M^2 has the
chi-square law of d degrees. Mean and P come from few rows, features are no Gaussian and shrinkage
widens what is narrow, so the share of normal rows beyond its quantile is not what was stated; the
threshold to use is the conformal one (scores of rows held out).
Low variance carries the signal in the paper: PCA keeps the axes that hold a share of the variance,
NPCA ("trailing") those beyond it, and the Gaussian is fitted anew in them.

The paper adds M over nine blocks of one network; an encoder here gives one vector, so there is one
M (the sum of the scores of several detectors is the paper's). All happens in the principal axes,
where P is diagonal; NPCA leaves out those without variance among the rows, the whole does not.
In `ilk bench normal_or_not` the whole is nowhere behind the distance to the mean, and the narrowest
axes nowhere behind as many of the widest; but NPCA is nowhere ahead of the whole, so all axes are
the default. On photographs the law calls most normal rows odd.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainccinv

from ilk.data import Data, Features
from ilk.errors import InputError, NoLabels
from ilk.maths import folds
from ilk.maths.axes import principal
from ilk.models import Facts

NEVER = float(np.finfo(np.float64).max)  # a threshold that nothing passes; JSON has no infinity
LEAST = 1e-9  # of the mean variance, the least that counts: a constant feature must not be 0
CHUNK = 2048  # rows scored at a time

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NormalGaussian:
    """A Gaussian in its principal axes.

    Attributes:
        centre: Mean of the normal rows, `[d]`.
        axes: Orthonormal directions, `[d, r]`.
        spread: Standard deviation along each after shrinkage, `[r]`.
        beyond: One over the variance in any direction orthogonal to them; 0 where it is no matter.
        degrees: Dimensions that the Gaussian has: d, or r where only some axes were kept.
        held: Scores of normal rows by Gaussians that did not see them, rising, `[m]`.
    """

    centre: Vector
    axes: Matrix
    spread: Vector
    beyond: float
    degrees: int
    held: Vector

    def score(self, x: Features) -> Vector:
        """Mahalanobis distance M of features `[n, d]`, `[n]`."""
        parts = [self._squared(x[at : at + CHUNK]) for at in range(0, len(x), CHUNK)]
        return np.sqrt(np.concatenate(parts)) if parts else np.zeros(0)

    def _squared(self, x: Features) -> Vector:
        z = np.asarray(x, np.float64) - self.centre
        along = z @ self.axes
        left = np.sum(z**2, axis=1) - np.sum(along**2, axis=1)
        inside = np.sum((along / self.spread) ** 2, axis=1)
        return np.asarray(inside + self.beyond * np.maximum(left, 0.0))

    def threshold(self, rate: float) -> float:
        """The score that a new normal row passes with probability `rate` at most.

        Greater than any score where there are fewer held-out rows than `1 / rate - 1`.

        Raises:
            InputError: `rate` is not between 0 and 1.
        """
        checked_rate(rate)
        rank = int(np.ceil(round((len(self.held) + 1) * (1 - rate), 9)))
        return float(self.held[rank - 1]) if rank <= len(self.held) else NEVER

    def chi_square(self, rate: float) -> float:
        """The same from the chi-square law, as if mean and precision were known.

        Raises:
            InputError: `rate` is not between 0 and 1.
        """
        checked_rate(rate)
        return float(np.sqrt(2 * gammainccinv(self.degrees / 2, rate)))


@dataclass(frozen=True)
class GaussianAnomaly(Facts):
    """Distance from one Gaussian; normal is class 0, or every row where no row has a label.

    Where some rows have labels, those of other classes and those without are not learnt from.

    Attributes:
        components: "leading" (PCA) or "trailing" (NPCA) keeps that end of the principal axes; None
            keeps all.
        share: Of the variance, that the leading axes hold, in (0, 1). The axis at the boundary
            belongs to either end.
        folds: Parts of the normal rows for the calibrated threshold, >= 2.
        seed: Draws the parts.
    """

    detects = True
    needs_labels = False

    components: str | None = None
    share: float = 0.99
    folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.components not in (None, "leading", "trailing"):
            raise ValueError(
                f"components is {self.components!r}; allowed are 'leading', 'trailing' and None"
            )
        if not 0 < self.share < 1:
            raise ValueError(f"share is {self.share}; it must lie between 0 and 1")
        if self.folds < 2:
            raise ValueError(f"folds is {self.folds}; at least 2 are needed")

    def fit(self, data: Data) -> NormalGaussian:
        """What is normal, from the normal rows of `data`.

        Raises:
            NoLabels: There are labels, and none is of class 0.
            InputError: There is no row, or rows are not vectors.
        """
        x = _normal(data)
        part = folds.stratified(np.zeros(len(x), np.int64), self.folds, self.seed)
        held = [
            self._gaussian(x[part != f]).score(x[part == f])
            for f in range(min(self.folds, len(x)) if len(x) > 1 else 0)
        ]
        return replace(self._gaussian(x), held=np.sort(np.concatenate([np.zeros(0), *held])))

    def _gaussian(self, x: Matrix) -> NormalGaussian:
        found = principal(x)
        kept = self._kept(found.squares)
        scores, variance = found.scores[:, kept], found.squares[kept] / len(x)
        whole = self.components is None or not len(variance)
        degrees = x.shape[1] if whole else len(variance)
        level = float(variance.sum()) / degrees or 1.0  # rows that are all the same: Euclid
        share = _ledoit_wolf(scores, variance, degrees)
        least = max(share, LEAST) * level if len(variance) else level
        spread = np.sqrt(np.maximum((1 - share) * variance + share * level, LEAST * level))
        beyond = 1 / least if whole and degrees > len(variance) else 0.0
        return NormalGaussian(
            found.centre, found.basis[:, kept], spread, beyond, degrees, np.zeros(0)
        )

    def _kept(self, squares: Vector) -> slice:
        """Which of the axes, of falling variance, the Gaussian is fitted in."""
        if self.components is None:
            return slice(None)
        held = np.cumsum(squares) / max(float(squares.sum()), np.finfo(float).tiny)
        edge = int(np.searchsorted(held, self.share))  # the axis at the boundary
        return slice(0, edge + 1) if self.components == "leading" else slice(edge, None)


def _normal(data: Data) -> Matrix:
    """The rows to learn from, float64."""
    if data.x.ndim != 2:
        raise InputError(
            f"GaussianAnomaly reads features [n, d] and got an array of shape {data.x.shape}; "
            "encode the images first"
        )
    rows = data.y == 0 if (data.y >= 0).any() else np.ones(len(data), bool)
    if not len(data):
        raise InputError("GaussianAnomaly learns from normal rows and there is none; give a few")
    if not rows.any():
        raise NoLabels(
            f"GaussianAnomaly takes the first class, {data.classes[0]!r}, as normal, and no row "
            "has that label; give it some, or give rows without any label"
        )
    return np.asarray(data.x[rows], np.float64)


def _ledoit_wolf(scores: Matrix, variance: Vector, width: int) -> float:
    """Share of the covariance that becomes a sphere, from centred rows in their principal axes.

    With l the eigenvalues of S and m their mean over all `width` dimensions, the share is
    `(sum |x|^4 / n - sum l^2) / n` by `sum (l - m)^2`, at most 1. It takes three rows to doubt:
    two always lie as far from their mean as each other, so they give a sphere.
    """
    if len(scores) < 3:
        return 1.0
    n, level = len(scores), float(variance.sum()) / width
    apart = float(np.sum((variance - level) ** 2)) + (width - len(variance)) * level**2
    doubt = (float(np.mean(np.sum(scores**2, axis=1) ** 2)) - float(np.sum(variance**2))) / n
    return min(doubt, apart) / apart if apart > 0 and doubt > 0 else 0.0


def checked_rate(rate: float) -> None:
    """Raise InputError for a false-alarm rate outside (0, 1)."""
    if not 0 < rate < 1:
        raise InputError(f"a false-alarm rate of {rate} means nothing; ask for one in (0, 1)")
