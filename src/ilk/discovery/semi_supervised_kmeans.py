"""Semi-supervised k-means: labelled rows stay in their class, new clusters take other rows.

Sagar Vaze, Kai Han, Andrea Vedaldi, Andrew Zisserman, 2022, Generalized Category Discovery,
arXiv 2201.02609, section 4.2; initialization: David Arthur, Sergei Vassilvitskii, 2007, k-means++:
The Advantages of Careful Seeding.

    initial centres  mean of each class's labelled rows; new ones drawn with probability
                     proportional to the squared distance from these
    assignment       labelled rows: their class; other rows: the nearest centre
    centres          mean of all assigned rows; repeat until no assignment changes

The run with the least inertia is returned. The score of a cluster is `-t |x - centre|^2 / 2`.

Departures: the inverse temperature t is not part of the paper and changes no prediction. The number
of new clusters, if not given, is the one with the best silhouette over all rows; the paper takes
the one that clusters held-out labelled rows best, which considers known classes alone and cannot
return 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ilk.core.contracts import DiscoveryTags, labelled_features
from ilk.core.data import Data
from ilk.core.errors import InputError
from ilk.core.linear_models import Linear
from ilk.maths.kmeans import estimate_inverse_temperature, estimate_new_clusters, fit_kmeans


@dataclass(frozen=True)
class SemiSupervisedKMeans(DiscoveryTags):
    """k-means with known classes.

    Attributes:
        n_new: Number of new clusters, >= 0; None estimates it.
        n_init: Number of initializations, >= 1.
        seed: Seed of the initial centres.
    """

    n_new: int | None = None
    n_init: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.n_new or 0) < 0 or self.n_init < 1:
            raise ValueError(
                f"n_new is {self.n_new} and n_init {self.n_init}; they must be at least 0 and 1"
            )

    def fit(self, data: Data) -> Linear:
        known = labelled_features(data, self)
        data = data if (data.weight > 0).all() else data.take(data.weight > 0)
        present, y = np.flatnonzero(known.count_labels()), data.y.copy()
        y[y >= 0] = np.searchsorted(present, y[y >= 0])
        if (self.n_new or 0) > np.sum(y < 0):
            raise InputError(f"{self.n_new} new classes need as many unlabelled rows; reduce n_new")
        centre = np.asarray(data.x, np.float32).mean(0, dtype=np.float64)
        x = (np.asarray(data.x, np.float32) - centre).astype(np.float32)
        new = estimate_new_clusters(x, y, seed=self.seed) if self.n_new is None else self.n_new
        groups = fit_kmeans(x, y, new, n_init=self.n_init, seed=self.seed)
        columns = np.append(present, data.k + np.arange(new))
        weight = np.zeros((data.k + new, x.shape[1]))
        bias = np.full(len(weight), -np.inf)
        weight[columns] = estimate_inverse_temperature(x, y, groups) * groups.centres.astype(
            np.float64
        )
        bias[columns] = -0.5 * np.einsum(
            "kd,kd->k", weight[columns], groups.centres.astype(np.float64)
        )
        return Linear.from_centred(centre, weight, bias)
