"""Images that the model is least sure of, one of each cluster.

Gui Citovsky and others, 2021, Batch Active Learning at Scale, arXiv 2107.14263, algorithm 1
(Cluster-Margin): of the rows with the smallest margins between the two best classes, one per
cluster in turn.

Departures: clusters are those of k-means, as many as there are questions, rather than those of
agglomerative clustering; and of the clusters, the one with the smallest margin comes first rather
than the smallest one, because the model is refitted before all of them have been asked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.labelling.orders.order import OrderTags, Pool
from ilk.maths.kmeans import fit_kmeans


@dataclass(frozen=True)
class ClusterMargin(OrderTags):
    """Small margins, spread over clusters. Without a model, the order is random.

    Attributes:
        spread: Rows of small margin to choose from, as a multiple of the number of questions, >= 1.
    """

    spread: int = 5

    def __post_init__(self) -> None:
        if self.spread < 1:
            raise ValueError(f"spread is {self.spread}; it must be at least 1")

    def choose(self, pool: Pool, count: int, seed: int) -> NDArray[np.int64]:
        """Return the positions of the rows to label next, `[<= count]`."""
        rng = np.random.default_rng(seed)
        rows = rng.permutation(np.flatnonzero(pool.can_ask))
        if pool.probabilities is None or not len(rows):
            return rows[:count]
        margins = pool.compute_margins()[rows]
        nearest = rows[np.argsort(margins, kind="stable")[: self.spread * count]]
        k = min(count, len(nearest))
        nothing = np.full(len(nearest), -1)
        groups = fit_kmeans(pool.x[nearest], nothing, k, n_init=1, seed=seed).assignment
        turn = np.array([np.sum(groups[:i] == g) for i, g in enumerate(groups)])
        return nearest[np.argsort(turn, kind="stable")][:count]
