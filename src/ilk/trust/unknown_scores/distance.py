"""Mahalanobis distance to the nearest class mean, as a saved classifier measures it.

Kimin Lee, Kibok Lee, Honglak Lee, Jinwoo Shin, 2018, A Simple Unified Framework for Detecting
Out-of-Distribution Samples and Adversarial Attacks, arXiv 1807.03888, equation 2; the shrinkage is
that of `ilk.trust.out_of_distribution`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ilk.maths.covariance import oas_shrinkage
from ilk.trust.known_rows import KnownRows, Scorer, SharedGaussians, UnknownScore
from ilk.trust.out_of_distribution import MIN_SHRINKAGE


@dataclass(frozen=True)
class MahalanobisDistance(UnknownScore):
    """Squared distance to the nearest class mean under the shared covariance, shrunk by half."""

    label = "distance"
    is_default = True

    def fit(self, known: KnownRows) -> Scorer:
        stats = known.statistics
        shrink = max(MIN_SHRINKAGE, oas_shrinkage(stats, known.n_features))
        gaussians = SharedGaussians.from_statistics(stats, shrink, known.n_features)
        return gaussians.compute_nearest_distances
