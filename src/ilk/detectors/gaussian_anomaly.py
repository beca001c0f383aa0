"""Mahalanobis distance from one Gaussian that is fitted to normal rows.

Oliver Rippel, Patrick Mertens, Dorit Merhof, 2020, Modeling the Distribution of Normal Data in
Pre-Trained Deep Features for Anomaly Detection, arXiv 2005.14140; the shrinkage: Olivier Ledoit,
Michael Wolf, 2004, doi:10.1016/S0047-259X(03)00096-4.

    M(x)^2 = (x - mean)' P (x - mean),  P^-1 = (1 - s) S + s tr(S) I / d

with S the covariance of the normal rows and s the Ledoit-Wolf shrinkage. For Gaussian x, M^2 has a
chi-square distribution with d degrees of freedom. Mean and P are estimated from few rows, features
are not Gaussian and shrinkage widens narrow directions, so the rate of normal rows beyond a
chi-square quantile differs from the stated one; `compute_threshold` is conformal instead, a
quantile of out-of-fold scores.

In the paper the signal lies in directions of low variance: PCA keeps the leading components that
explain a fraction of the variance, NPCA ("trailing") those beyond it, and the Gaussian is fitted to
them.

Departures: the paper adds M over nine blocks of one network, an encoder here gives one vector (add
the scores of several detectors for the sum). All is computed in the principal components, where P
is diagonal; NPCA ignores directions without variance, the full Gaussian does not.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.core.contracts import DetectorTags
from ilk.core.data import Data, Features
from ilk.core.part_bounds import NON_NEGATIVE, POSITIVE, Bounds
from ilk.maths import folds
from ilk.maths.alarm_threshold import (
    CalibratedDetector,
    check_false_alarm_rate,
    select_normal_rows,
    sort_calibration,
)
from ilk.maths.pca import fit_pca

MIN_VARIANCE_RATIO = 1e-9  # lower bound on a variance, as a fraction of the mean variance
CHUNK_SIZE = 2048  # rows scored at a time

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class GaussianDetector(CalibratedDetector):
    """A Gaussian in its principal components.

    Attributes:
        centre: Mean of the normal rows, `[d]`.
        axes: Principal directions, orthonormal, `[d, r]`.
        std: Standard deviation along each after shrinkage, `[r]`.
        residual_precision: Inverse variance in every direction orthogonal to `axes`; 0 to ignore
            these directions.
        degrees_of_freedom: Dimension of the Gaussian: d, or r where only some components were
            selected.
        calibration_scores: Out-of-fold scores of the normal rows, ascending, `[m]`.
        calibration_votes: Their votes, `[m]`: one per row, or per group of rows; empty is 1 each.
    """

    kind: ClassVar[str] = "gaussian_detector"
    shapes: ClassVar[dict[str, str]] = {
        "centre": "d",
        "axes": "d r",
        "std": "r",
        "calibration_scores": "m",
        "calibration_votes": "m?",
    }
    bounds: ClassVar[dict[str, Bounds]] = {
        "std": POSITIVE,
        "residual_precision": NON_NEGATIVE,
        "calibration_scores": NON_NEGATIVE,
        "calibration_votes": NON_NEGATIVE,
    }

    centre: Vector
    axes: Matrix
    std: Vector
    residual_precision: float
    degrees_of_freedom: int
    calibration_scores: Vector
    calibration_votes: Vector = field(default_factory=lambda: np.zeros(0))

    def score(self, x: Features) -> Vector:
        """Return the Mahalanobis distance `[n]` of features `[n, d]`."""
        parts = [
            self._squared_distance(x[at : at + CHUNK_SIZE]) for at in range(0, len(x), CHUNK_SIZE)
        ]
        return np.sqrt(np.concatenate(parts)) if parts else np.zeros(0)

    def _squared_distance(self, x: Features) -> Vector:
        z = np.asarray(x, np.float64) - self.centre
        projections = z @ self.axes
        residual = np.sum(z**2, axis=1) - np.sum(projections**2, axis=1)
        scaled_distance = np.sum((projections / self.std) ** 2, axis=1)
        return np.asarray(scaled_distance + self.residual_precision * np.maximum(residual, 0.0))

    def compute_chi_square_threshold(self, false_alarm_rate: float) -> float:
        """Return the chi-square quantile of the distance, as if mean and precision were known.

        Args:
            false_alarm_rate: Probability in (0, 1).

        Raises:
            InputError: If `false_alarm_rate` is not between 0 and 1.
        """
        from scipy.special import gammainccinv

        check_false_alarm_rate(false_alarm_rate)
        return float(np.sqrt(2 * gammainccinv(self.degrees_of_freedom / 2, false_alarm_rate)))


@dataclass(frozen=True)
class GaussianAnomaly(DetectorTags):
    """Distance from one Gaussian, fitted to the rows of class 0.

    If no row has a label, all rows count as normal.

    Attributes:
        components: "leading" (PCA) or "trailing" (NPCA) principal components; None uses all.
        explained_variance: Fraction of the variance that the leading components explain, in (0, 1).
            The component at the boundary belongs to both ends.
        folds: Number of folds for the out-of-fold scores, >= 2.
        seed: Seed of the fold assignment.
    """

    components: str | None = None
    explained_variance: float = 0.99
    folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.components not in (None, "leading", "trailing"):
            raise ValueError(
                f"components is {self.components!r}; allowed are 'leading', 'trailing' and None"
            )
        if not 0 < self.explained_variance < 1:
            raise ValueError(
                f"explained_variance is {self.explained_variance}; it must lie between 0 and 1"
            )
        if self.folds < 2:
            raise ValueError(f"folds is {self.folds}; at least 2 are needed")

    def fit(self, data: Data) -> GaussianDetector:
        """Fit the Gaussian and the out-of-fold scores to the normal rows of `data`.

        Raises:
            NoLabels: If there are labels but none of class 0.
            InputError: If there are no rows, they are not vectors, or their weights differ.
        """
        rows = select_normal_rows(data, self)
        x, y = np.asarray(rows.x, np.float64), np.zeros(len(rows), np.int64)
        n_folds = folds.count_folds(y, self.folds, rows.group)
        fold = folds.assign_folds(y, n_folds, self.seed, rows.group)
        scores = np.full(len(x), np.nan)
        for f in range(n_folds if n_folds > 1 else 0):
            scores[fold == f] = self._fit_gaussian(x[fold != f]).score(x[fold == f])
        calibration_scores, votes = sort_calibration(scores, rows.group)
        return replace(
            self._fit_gaussian(x), calibration_scores=calibration_scores, calibration_votes=votes
        )

    def _fit_gaussian(self, x: Matrix) -> GaussianDetector:
        pca = fit_pca(x)
        selected = self._select_components(pca.eigenvalues)
        scores, variance = pca.scores[:, selected], pca.eigenvalues[selected] / len(x)
        uses_all = self.components is None or not len(variance)
        degrees = x.shape[1] if uses_all else len(variance)
        mean_variance = float(variance.sum()) / degrees or 1.0  # equal rows: Euclidean distance
        shrinkage = _ledoit_wolf(scores, variance, degrees)
        smallest_variance = (
            max(shrinkage, MIN_VARIANCE_RATIO) * mean_variance if len(variance) else mean_variance
        )
        std = np.sqrt(
            np.maximum(
                (1 - shrinkage) * variance + shrinkage * mean_variance,
                MIN_VARIANCE_RATIO * mean_variance,
            )
        )
        residual_precision = 1 / smallest_variance if uses_all and degrees > len(variance) else 0.0
        return GaussianDetector(
            pca.centre, pca.basis[:, selected], std, residual_precision, degrees, np.zeros(0)
        )

    def _select_components(self, eigenvalues: Vector) -> slice:
        """Return the selected components, given the eigenvalues in descending order."""
        if self.components is None:
            return slice(None)
        cumulative = np.cumsum(eigenvalues) / max(float(eigenvalues.sum()), np.finfo(float).tiny)
        boundary = int(np.searchsorted(cumulative, self.explained_variance))
        return slice(0, boundary + 1) if self.components == "leading" else slice(boundary, None)


def _ledoit_wolf(scores: Matrix, variance: Vector, n_features: int) -> float:
    """Return the Ledoit-Wolf shrinkage intensity, in [0, 1].

    With l the eigenvalues of S and m their mean over all `n_features` dimensions, it is
    `(sum |x|^4 / n - sum l^2) / n` divided by `sum (l - m)^2`. Two rows are always equally far from
    their mean, so fewer than three give full shrinkage.

    Args:
        scores: Centred rows in their principal components, `[n, r]`.
        variance: Variance along each, `[r]`.
        n_features: Number of features.
    """
    if len(scores) < 3:
        return 1.0
    n, mean_variance = len(scores), float(variance.sum()) / n_features
    dispersion = (
        float(np.sum((variance - mean_variance) ** 2))
        + (n_features - len(variance)) * mean_variance**2
    )
    estimation_error = (
        float(np.mean(np.sum(scores**2, axis=1) ** 2)) - float(np.sum(variance**2))
    ) / n
    return (
        min(estimation_error, dispersion) / dispersion
        if dispersion > 0 and estimation_error > 0
        else 0.0
    )
