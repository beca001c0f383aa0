"""Rows and Gaussians of known classes, for scores of how unknown an image is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Features, Labels
from ilk.core.statistics import Statistics
from ilk.maths.covariance import Shrinkage, estimate_covariance, solve_triangular
from ilk.maths.gaussian import compute_statistics

Matrix = NDArray[np.float64]
Scorer = Callable[[Features], Matrix]
"""Maps features `[n, d]` to scores `[n]`: the greater, the less like any known class."""


@dataclass(frozen=True, eq=False)
class KnownRows:
    """Statistics of all rows of the known classes, and some of these rows.

    Attributes:
        statistics: Statistics of k classes, some of which may have no rows.
        x: Features, `[n, d]`.
        y: Classes, `[n]`.
        n_features: Width of the features, where `x` are coordinates in a subspace of them.
    """

    statistics: Statistics
    x: Features
    y: Labels
    n_features: int | None = None

    @classmethod
    def from_rows(cls, x: Features, y: Labels, k: int, n_features: int | None = None) -> KnownRows:
        """Return what is known from rows `x [n, d]` of classes `y [n]` alone."""
        return cls(compute_statistics(x, y, k), x, y, n_features)


class UnknownScore:
    """Base class of the scores in `ilk.trust.unknown_scores`, frozen dataclasses.

    `fit(known)` returns a function of features `[n, d]` that gives scores `[n]`.
    """

    label: ClassVar[str]
    """What it is called in messages and tables."""
    is_default: ClassVar[bool] = False
    """The score of a saved classifier, which another must beat."""

    def fit(self, known: KnownRows) -> Scorer:
        """Return the scorer of the classes of `known`."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class SharedGaussians:
    """Gaussians of m classes with one covariance, in coordinates in which it is the identity.

    Attributes:
        centre: Mean of all rows, `[d]`.
        root: Cholesky factor of the covariance, `[d, d]`.
        means: Class means in the coordinates, `[m, d]`.
        log_prior: Log class frequencies, `[m]`.
    """

    centre: Matrix
    root: Matrix
    means: Matrix
    log_prior: Matrix

    @classmethod
    def from_statistics(
        cls, stats: Statistics, shrink: Shrinkage = None, n_features: int | None = None
    ) -> SharedGaussians:
        """Return the Gaussians; arguments as in `ilk.maths.covariance.estimate_covariance`."""
        covariance = estimate_covariance(stats, shrink, n_features)
        jitter = 1e-9 * max(float(np.trace(covariance)) / len(covariance), 1e-30)
        covariance[np.diag_indices_from(covariance)] += jitter
        root: Matrix = np.asarray(np.linalg.cholesky(covariance), np.float64)
        means = solve_triangular(root, (stats.means[stats.present] - stats.centre).T).T
        log_prior = np.log(stats.counts[stats.present] / stats.n)
        return cls(stats.centre, root, means, np.asarray(log_prior))

    def whiten(self, x: NDArray[Any]) -> Matrix:
        """Return rows `[n, d]` in the coordinates, from the centre."""
        centred = np.asarray(x, np.float64) - self.centre
        return solve_triangular(self.root, centred.T).T

    def compute_logits(self, x: NDArray[Any]) -> Matrix:
        """Return log(prior density) of each class over the density of one Gaussian at the centre.

        Args:
            x: Rows, `[n, d]`.

        Returns:
            Logits, `[n, m]`.
        """
        halved_norms = 0.5 * np.einsum("md,md->m", self.means, self.means)
        return np.asarray(self.whiten(x) @ self.means.T - halved_norms + self.log_prior)

    def compute_nearest_distances(self, x: NDArray[Any]) -> Matrix:
        """Return squared distances of rows `[n, d]` from the nearest mean, `[n]`."""
        white = self.whiten(x)
        distances = np.einsum("md,md->m", self.means, self.means) - 2 * white @ self.means.T
        return np.asarray(np.maximum(distances.min(1) + np.einsum("nd,nd->n", white, white), 0.0))
