"""Mahalanobis distance to the nearest class mean, minus that to the mean of all classes.

Jie Ren, Stanislav Fort, Jeremiah Liu, Abhijit Guha Roy, Shreyas Padhy, Balaji Lakshminarayanan,
2021, A Simple Fix to Mahalanobis Distance for Improving Near-OOD Detection, arXiv 2106.09022:

    score(x) = min_c (x - mean_c)' S^-1 (x - mean_c) - (x - mean)' T^-1 (x - mean)

with S the covariance within classes and T that of all rows, both shrunk as in `ilk.methods.gda`.
What is far from everything is far in both terms, so that the score may miss it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ilk.core.data import Features
from ilk.core.statistics import Statistics
from ilk.trust.known_rows import KnownRows, Matrix, Scorer, SharedGaussians, UnknownScore


@dataclass(frozen=True)
class RelativeDistance(UnknownScore):
    """Distance to the nearest class mean, relative to the distance to the mean of all rows."""

    label = "relative distance"

    def fit(self, known: KnownRows) -> Scorer:
        within = SharedGaussians.from_statistics(known.statistics, None, known.n_features)
        background = SharedGaussians.from_statistics(
            merge_classes(known.statistics), None, known.n_features
        )

        def score(x: Features) -> Matrix:
            nearest = within.compute_nearest_distances(x)
            return nearest - background.compute_nearest_distances(x)

        return score


def merge_classes(stats: Statistics) -> Statistics:
    """Return the statistics of all rows as one class."""
    offsets = (stats.means - stats.centre) * np.sqrt(np.asarray(stats.counts, np.float64))[:, None]
    scatter = stats.scatter + offsets.T @ offsets
    return Statistics(np.array([stats.counts.sum()]), stats.centre[None], scatter)
