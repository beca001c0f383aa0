"""Never seen anything like it: the distance from what was learnt, and a threshold with a rate.

Kimin Lee, Kibok Lee, Honglak Lee, Jinwoo Shin, 2018, A Simple Unified Framework for Detecting
Out-of-Distribution Samples and Adversarial Attacks, arXiv 1807.03888, equation 2: the squared
Mahalanobis distance to the nearest class mean, under one covariance for all classes,

    score(x) = min_c (x - mean_c)' S^-1 (x - mean_c)

with half of S replaced by a sphere of the same trace, or more where estimating S asks for more
(oracle approximating shrinkage), so that it holds with fewer rows than features, constant features
and classes of one image. At least half, because that finds classes left out of digits better. The
relative distance of Ren et al. 2021, arXiv 2106.09022, is not used: it finds such near classes
better still, but it takes away what is far from every class, and lets inverted or foreign pictures
pass as known.

The threshold is a conformal quantile of scores that each row gets from a Gaussian of the other
folds: an image drawn like the training images is called unknown with at most the stated
probability. Distances of rows that the Gaussian was fitted on are smaller and would flag too many.
With no more rows than features the rate stays well below what was stated, because the Gaussian of
all rows sits closer to new ones than those of the folds did.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh, svd

from ilk.data import Data, Features, Labels
from ilk.errors import InputError, NoLabels
from ilk.maths.gaussian import class_statistics, oas, shrunk
from ilk.protocols import steps

NEVER = float(np.finfo(np.float64).max)  # a threshold that nothing passes; JSON has no infinity
HALF = 0.5
CHUNK = 2048  # rows scored at a time
RANK = 1e-7  # singular values below this share of the greatest are rounding of float32
LEAST = 1e-9  # least variance of a direction, as a share of the mean one

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Unknown:
    """A Gaussian in its own axes: only the r directions in which training rows differ are kept.

    Attributes:
        centre: Mean of the training rows, `[d]`.
        axes: Orthonormal directions, `[d, r]`; r is d, or less where there are no more than d rows.
        spread: Standard deviation within a class along each, `[r]`.
        means: Mean of each class that has a row, in those axes and units of `spread`, `[m, r]`.
        outside: Variance in any direction orthogonal to the axes.
        threshold: Scores above it are called unknown; greater than any where nothing can be.
        false_alarm: Stated share of known kinds that are called unknown all the same, in (0, 1).
        rows: Number of held-out scores behind the threshold.
    """

    centre: Features
    axes: Features
    spread: Features
    means: Features
    outside: float = 1.0
    threshold: float = NEVER
    false_alarm: float = 0.05
    rows: int = 0

    def score(self, x: Features) -> Vector:
        """Squared Mahalanobis distance of features `[n, d]` to the nearest class mean, `[n]`."""
        parts = [self._score(x[at : at + CHUNK]) for at in range(0, len(x), CHUNK)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def flag(self, x: Features) -> NDArray[np.bool_]:
        """Whether each row of features `[n, d]` is like nothing that was learnt, `[n]`."""
        return self.score(x) > self.threshold

    def _score(self, x: Features) -> Vector:
        off = np.asarray(x, np.float64) - self.centre
        along = off @ self.axes.astype(np.float64)
        rest = np.einsum("nd,nd->n", off, off) - np.einsum("nr,nr->n", along, along)
        if self.axes.shape[0] == self.axes.shape[1]:
            rest = np.zeros(len(x))
        near = _nearest(along / self.spread, self.means.astype(np.float64))
        return np.asarray(near + np.maximum(rest, 0.0) / self.outside)

    @classmethod
    def fit(cls, data: Data, held_out: Vector, false_alarm: float = 0.05) -> Unknown:
        """The Gaussian of the labelled rows, its threshold from `held_out_scores` of the same rows.

        With fewer finite scores than the rate needs (19 for 5 %) nothing is ever called unknown.

        Raises:
            NoLabels: There is no labelled row.
            InputError: `false_alarm` is not between 0 and 1.
        """
        if not 0 < false_alarm < 1:
            raise InputError(
                f"a false-alarm rate of {false_alarm} means nothing; ask for one in (0, 1)"
            )
        return replace(gaussian(data), false_alarm=float(false_alarm)).limited(held_out)

    def limited(self, held_out: Vector) -> Unknown:
        """The same Gaussian with its threshold from scores `[n]` of rows that were held out."""
        scores = np.sort(held_out[np.isfinite(held_out)])
        n = len(scores)
        rank = int(np.ceil(round((n + 1) * (1 - self.false_alarm), 9)))
        threshold = float(scores[rank - 1]) if rank <= n else NEVER
        return replace(self, threshold=threshold, rows=n)

    def with_mean(self, mean: Vector, at: int) -> Unknown:
        """With `mean [d]` as that of class `at`: one of those there are, or the next.

        The covariance stays. Where the rows did not span all features, an axis is added along what
        of the mean lies outside; as the Gaussian is a sphere there, no old distance changes.
        """
        off = np.asarray(mean, np.float64) - self.centre
        axes = self.axes.astype(np.float64)
        spread, means = self.spread, self.means
        beyond = off - axes @ (axes.T @ off)
        length = float(np.linalg.norm(beyond))
        if axes.shape[1] < len(off) and length > RANK * float(np.linalg.norm(off)):
            axes = np.column_stack([axes, beyond / length])
            spread = np.append(spread, np.float32(np.sqrt(self.outside)))
            means = np.pad(means, ((0, 0), (0, 1)))
        placed = ((off @ axes) / spread).astype(np.float32)
        means = np.vstack([means[:at], placed, means[at + 1 :]])
        return replace(self, axes=axes.astype(np.float32), spread=spread, means=means)

    @property
    def note(self) -> str:
        """Why nothing is ever called unknown, as a sentence; "" where something can be."""
        if self.threshold < NEVER:
            return ""
        needed = int(np.ceil(round(1 / self.false_alarm - 1, 9)))
        return (
            f"a false-alarm rate of {100 * self.false_alarm:.3g}% needs {needed} labelled images "
            f"that can be held out and there are {self.rows}: nothing is ever called unknown"
        )


def held_out_scores(data: Data, fold: Labels) -> Vector:
    """The score each row gets from the Gaussian of the other folds, `[n]`; nan where `fold < 0`."""
    scores = np.full(len(data), np.nan)
    for step in steps(data, fold):
        scores[step.rows] = gaussian(step.train).score(step.test.x)
    return scores


def gaussian(data: Data, shrink: float | None = None) -> Unknown:
    """Class means and shared covariance of the labelled rows, without a threshold yet.

    Args:
        shrink: Share of the covariance that is replaced by a sphere, in [0, 1]; None
            takes half, or the oracle approximating share where that is more.

    Raises:
        NoLabels: There is no labelled row.
    """
    known = data.labelled()
    if not len(known):
        raise NoLabels(
            "the sense of the unknown learns from labelled images and there are none; label a few"
        )
    stats = class_statistics(known.x, known.y, data.k)
    covariance = shrunk(stats, max(HALF, oas(stats)) if shrink is None else shrink)
    centre, d = stats.centre, len(covariance)
    least = LEAST * float(np.trace(covariance)) / d
    span = _span(known.x - centre) if len(known) <= d else np.eye(d)
    variance, turn = eigh(span.T @ covariance @ span if span.shape[1] < d else covariance)
    axes = span @ turn
    beyond = (np.trace(covariance) - variance.sum()) / max(1, d - len(variance))
    spread = np.sqrt(np.maximum(variance, least))
    means = (stats.means[stats.seen] - centre) @ axes / spread
    return Unknown(
        centre.astype(np.float32),
        axes.astype(np.float32),
        spread.astype(np.float32),
        means.astype(np.float32),
        outside=float(max(beyond, least)),
    )


def _span(off: Matrix) -> Matrix:
    """Orthonormal columns that span the rows of `off [n, d]`, `[d, r]`."""
    _, size, axes = svd(off, full_matrices=False)
    return np.asarray(axes[size > RANK * max(size[0], np.finfo(float).tiny)].T)


def _nearest(q: Matrix, means: Matrix) -> Vector:
    """Squared distance of each row of `q [n, r]` to the nearest of `means [m, r]`."""
    apart = np.einsum("mr,mr->m", means, means) - 2 * q @ means.T
    return np.asarray(np.maximum(apart.min(1) + np.einsum("nr,nr->n", q, q), 0.0))
