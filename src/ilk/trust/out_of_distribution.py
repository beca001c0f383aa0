"""Detect out-of-distribution rows by the Mahalanobis distance to the nearest class mean.

Kimin Lee, Kibok Lee, Honglak Lee, Jinwoo Shin, 2018, A Simple Unified Framework for Detecting
Out-of-Distribution Samples and Adversarial Attacks, arXiv 1807.03888, equation 2: the squared
distance under one covariance for all classes,

    score(x) = min_c (x - mean_c)' S^-1 (x - mean_c)

At least half of S is replaced by a multiple of the identity with the same trace, or more if oracle
approximating shrinkage asks for it, so that the score is defined with fewer rows than features,
constant features and classes with one image; at least half also detects near classes better. The
relative distance of Ren et al. 2021, arXiv 2106.09022, is not used: it detects near classes better
still, but it lets inputs pass that are far from every class, such as inverted images.

The threshold is a conformal quantile of out-of-fold scores: an exchangeable new image is flagged
with at most the stated probability. In-sample scores are smaller and would flag too many. With no
more rows than features the rate stays well below the stated one, because the Gaussian of all rows
is closer to new rows than those of the folds are. With groups of rows the quantile is that of
`ilk.trust.conformal`: each group has one vote, and the rate holds for rows of new groups.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Data, Features, Labels
from ilk.core.errors import InputError, NoLabels
from ilk.core.part_bounds import FRACTION, NON_NEGATIVE, POSITIVE, Bounds
from ilk.core.statistics import Statistics
from ilk.maths.conformal_quantile import compute_votes, find_conformal_quantile
from ilk.maths.covariance import oas_shrinkage, shrink_covariance
from ilk.maths.folds import has_shared_groups
from ilk.maths.gaussian import compute_statistics
from ilk.maths.shared_covariance import SharedCovariance, compute_smaller_statistics
from ilk.protocols.folds import split_rows

NO_THRESHOLD = float(np.finfo(np.float64).max)  # stands for infinity, which JSON does not have
MIN_SHRINKAGE = 0.5
CHUNK_SIZE = 2048  # rows scored at a time
RANK_TOLERANCE = 1e-7  # relative singular values below this are rounding errors of float32
MIN_VARIANCE_RATIO = 1e-9  # lower bound on a variance, as a fraction of the mean variance

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class OutOfDistributionDetector:
    """Gaussians with one covariance, in the r directions in which training rows vary.

    Attributes:
        centre: Mean of the training rows, `[d]`.
        axes: Orthonormal directions, `[d, r]`; r is d, or less with no more than d rows.
        std: Within-class standard deviation along each, `[r]`.
        means: Mean of each class with rows, in these axes and in units of `std`, `[m, r]`.
        residual_variance: Variance in every direction orthogonal to `axes`.
        threshold: Rows with greater scores are flagged; `NO_THRESHOLD` flags none.
        false_alarm: Stated probability of flagging a row of a known class, in (0, 1).
        n_rows: Number of held-out scores behind the threshold.
        n_groups: Number of their groups; 0 where every row is one.
    """

    kind: ClassVar[str] = "out_of_distribution_detector"
    shapes: ClassVar[dict[str, str]] = {"centre": "d", "axes": "d r", "std": "r", "means": "m r"}
    bounds: ClassVar[dict[str, Bounds]] = {
        "std": POSITIVE,
        "residual_variance": POSITIVE,
        "threshold": NON_NEGATIVE,
        "false_alarm": FRACTION,
    }

    centre: Features
    axes: Features
    std: Features
    means: Features
    residual_variance: float = 1.0
    threshold: float = NO_THRESHOLD
    false_alarm: float = 0.05
    n_rows: int = 0
    n_groups: int = 0

    def score(self, x: Features) -> Vector:
        """Return squared Mahalanobis distances `[n]` of features `[n, d]` to the nearest mean."""
        chunks = [
            self._score_chunk(x[start : start + CHUNK_SIZE])
            for start in range(0, len(x), CHUNK_SIZE)
        ]
        return np.concatenate(chunks) if chunks else np.zeros(0)

    def select_columns(self, x: Features) -> Features:
        """Return the columns of features `[n, d]` that the detector reads: here all of them."""
        return x

    def flag(self, x: Features) -> NDArray[np.bool_]:
        """Return whether each row of features `[n, d]` is out of distribution, `[n]`."""
        return self.score(x) > self.threshold

    def _score_chunk(self, x: Features) -> Vector:
        centred = np.asarray(x, np.float64) - self.centre
        projected = centred @ self.axes.astype(np.float64)
        residual = np.einsum("nd,nd->n", centred, centred) - np.einsum(
            "nr,nr->n", projected, projected
        )
        if self.axes.shape[0] == self.axes.shape[1]:
            residual = np.zeros(len(x))
        nearest_distance = _nearest_squared_distance(
            projected / self.std, self.means.astype(np.float64)
        )
        return np.asarray(nearest_distance + np.maximum(residual, 0.0) / self.residual_variance)

    @classmethod
    def fit(
        cls, data: Data, held_out: Vector, false_alarm: float = 0.05
    ) -> OutOfDistributionDetector:
        """Fit the Gaussians to labelled rows and the threshold to out-of-fold scores.

        With fewer finite scores than the rate needs (19 for 5 %) nothing is ever flagged.

        Args:
            data: Rows, `[n, d]`.
            held_out: Out-of-fold scores of the same rows, `[n]`; nan for rows without.
            false_alarm: Probability of flagging a row of a known class, in (0, 1).

        Raises:
            NoLabels: If no row has a label.
            InputError: If `false_alarm` is not between 0 and 1.
        """
        if not 0 < false_alarm < 1:
            raise InputError(f"the false-alarm rate is {false_alarm}; it must lie between 0 and 1")
        detector = replace(fit_gaussian(data), false_alarm=float(false_alarm))
        groups = data.group if has_shared_groups(data.group) else None
        return detector.with_threshold(held_out, groups)

    def with_threshold(
        self, held_out: Vector, groups: Labels | None = None
    ) -> OutOfDistributionDetector:
        """Return a copy with the threshold fitted to out-of-fold scores `[n]`.

        Args:
            held_out: Out-of-fold scores, `[n]`; nan for rows without.
            groups: Group of each row, `[n]`; -1 is a group of its own, and None makes every row
                one.
        """
        is_scored = np.isfinite(held_out)
        scores = held_out[is_scored]
        votes = compute_votes(None if groups is None else groups[is_scored], len(scores))
        threshold = find_conformal_quantile(scores, 1 - self.false_alarm, votes)
        n_votes = round(float(votes.sum()))
        return replace(
            self,
            threshold=NO_THRESHOLD if threshold is None else threshold,
            n_rows=len(scores),
            n_groups=n_votes if n_votes < len(scores) else 0,
        )

    def with_mean(self, mean: Vector, index: int) -> OutOfDistributionDetector:
        """Return a copy with the mean of one class set; the covariance stays the same.

        If the axes do not span all features, the component of the mean outside their span becomes
        a further axis; the covariance is isotropic there, so no other distance changes.

        Args:
            mean: Class mean, `[d]`.
            index: Row of `means` to set; m appends one.
        """
        centred = np.asarray(mean, np.float64) - self.centre
        axes = self.axes.astype(np.float64)
        std, means = self.std, self.means
        residual = centred - axes @ (axes.T @ centred)
        length = float(np.linalg.norm(residual))
        if axes.shape[1] < len(centred) and length > RANK_TOLERANCE * float(
            np.linalg.norm(centred)
        ):
            axes = np.column_stack([axes, residual / length])
            std = np.append(std, np.float32(np.sqrt(self.residual_variance)))
            means = np.pad(means, ((0, 0), (0, 1)))
        projected = ((centred @ axes) / std).astype(np.float32)
        means = np.vstack([means[:index], projected, means[index + 1 :]])
        return replace(self, axes=axes.astype(np.float32), std=std, means=means)

    @property
    def note(self) -> str:
        """Why nothing is ever flagged, as a sentence; "" where rows can be flagged."""
        if self.threshold < NO_THRESHOLD:
            return ""
        needed = int(np.ceil(round(1 / self.false_alarm - 1, 9)))
        what = "groups of labelled images" if self.n_groups else "labelled images"
        return (
            f"a false-alarm rate of {100 * self.false_alarm:.3g}% needs {needed} {what} that can "
            f"be held out and there are {self.n_groups or self.n_rows}: nothing is ever flagged as "
            "unknown"
        )


def score_left_out(stats: Statistics, x: Features, rows: Matrix | None = None) -> Vector:
    """Return the scores `[m]` of rows `x [m, d]` under the Gaussians of other rows.

    Args:
        stats: Statistics of the other rows, as `compute_smaller_statistics` returns them.
        x: Features, `[m, d]`.
        rows: Class-centred rows, `[n, d]`, where the scatter is that of their products.
    """
    shrink = max(MIN_SHRINKAGE, oas_shrinkage(stats, x.shape[1]))
    return SharedCovariance.from_statistics(stats, shrink, rows).compute_nearest_distances(x)


def cross_validate_scores(data: Data, fold: Labels) -> Vector:
    """Return out-of-fold scores `[n]`; nan where `fold < 0`.

    They are those of `fit_gaussian` up to its float32 rounding. No axes are needed, so that a fold
    costs one Cholesky factor, in as many dimensions as there are rows or features.

    Args:
        data: Rows, `[n, d]`.
        fold: Fold of each row, `[n]`.
    """
    scores = np.full(len(data), np.nan)
    for is_train, test_rows in split_rows(data, fold):
        labelled = _take_labelled(data, is_train)
        stats, rows = compute_smaller_statistics(
            labelled.x, labelled.y, data.k, labelled.sample_weight
        )
        del labelled  # the test rows are copied only now
        scores[test_rows] = score_left_out(stats, data.x[test_rows], rows)
    return scores


def fit_gaussian(data: Data, shrink: float | None = None) -> OutOfDistributionDetector:
    """Fit class means and the shared covariance to the labelled rows, without a threshold.

    Args:
        data: Rows, `[n, d]`.
        shrink: Shrinkage intensity of the covariance, in [0, 1]; None is 0.5 or the oracle
            approximating shrinkage, whichever is greater.

    Raises:
        NoLabels: If no row has a label.
    """
    labelled = _take_labelled(data)
    stats = compute_statistics(labelled.x, labelled.y, data.k, weight=labelled.sample_weight)
    d = data.x.shape[1]
    row_space = _find_row_space(labelled.x - stats.centre) if len(labelled) <= d else None
    return make_gaussian(stats, shrink, row_space)


def make_gaussian(
    stats: Statistics, shrink: float | None = None, row_space: Matrix | None = None
) -> OutOfDistributionDetector:
    """Return the detector of rows from their statistics, without a threshold.

    Args:
        stats: Counts, means and scatter of the rows.
        shrink: As for `fit_gaussian`.
        row_space: Orthonormal columns `[d, r]` that span the centred rows, where they do not span
            all features; None is all.
    """
    covariance = shrink_covariance(
        stats, max(MIN_SHRINKAGE, oas_shrinkage(stats)) if shrink is None else shrink
    )
    centre, d = stats.centre, len(covariance)
    min_variance = MIN_VARIANCE_RATIO * float(np.trace(covariance)) / d
    variance, axes = np.linalg.eigh(
        covariance if row_space is None else row_space.T @ covariance @ row_space
    )
    axes = axes if row_space is None else row_space @ axes
    residual_variance = (np.trace(covariance) - variance.sum()) / max(1, d - len(variance))
    std = np.sqrt(np.maximum(variance, min_variance))
    means = (stats.means[stats.present] - centre) @ axes / std
    return OutOfDistributionDetector(
        centre.astype(np.float32),
        axes.astype(np.float32),
        std.astype(np.float32),
        means.astype(np.float32),
        residual_variance=float(max(residual_variance, min_variance)),
    )


def _take_labelled(data: Data, among: NDArray[np.bool_] | bool = True) -> Data:
    """Return the rows with a label and a positive weight, among those of a mask `[n]`.

    Raises:
        NoLabels: If there is none.
    """
    is_used = (data.y >= 0) & (data.weight > 0) & among
    if not is_used.any():
        raise NoLabels(
            "out-of-distribution detection learns from labelled images and there are none; "
            "label a few"
        )
    return data if is_used.all() else data.take(is_used)


def _find_row_space(centred: Matrix) -> Matrix:
    """Return orthonormal columns `[d, n - 1]` whose span contains the rows of `centred [n, d]`.

    The (weighted) rows sum to 0, so that the last one is in the span of the others.
    """
    return np.asarray(np.linalg.qr(centred[:-1].T)[0])


def _nearest_squared_distance(q: Matrix, means: Matrix) -> Vector:
    """Return squared distances `[n]` of rows `q [n, r]` to the nearest of `means [m, r]`."""
    distances = np.einsum("mr,mr->m", means, means) - 2 * q @ means.T
    return np.asarray(np.maximum(distances.min(1) + np.einsum("nr,nr->n", q, q), 0.0))
