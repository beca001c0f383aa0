"""The image nearest to the centre of each cluster that has no label.

Guy Hacohen, Avihu Dekel, Daphna Weinshall, 2022, Active Learning on a Budget: Opposite Strategies
Suit High and Low Budgets, arXiv 2202.02794, algorithm 1: k-means into as many clusters as there
are labels and questions, and one question for each of the largest clusters without a label.

Departure: the question is the row nearest to the centre of the cluster rather than the one with the
smallest mean distance to its 20 nearest neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.labelling.orders.order import OrderTags, Pool
from ilk.maths.kmeans import fit_kmeans, squared_distances


@dataclass(frozen=True)
class KMeansCentres(OrderTags):
    """Typical images first, far from those that have a label.

    Attributes:
        max_clusters: Largest number of clusters; with more labels, clusters with the fewest labels
            come first.
        n_init: Number of k-means runs, of which the best is used.
    """

    max_clusters: int = 200
    n_init: int = 2

    def choose(self, pool: Pool, count: int, seed: int) -> NDArray[np.int64]:
        """Return the positions of the rows to label next, `[<= count]`."""
        rng = np.random.default_rng(seed)
        rows = pool.draw_sample(rng)
        free = pool.can_ask[rows]
        n_free = int(free.sum())
        if not n_free:
            return rows[:0]
        n_labelled = int(np.sum(pool.y >= 0))
        k = min(n_labelled + count, self.max_clusters, len(rows))
        x = pool.x[rows]
        nothing = np.full(len(rows), -1)
        fitted = fit_kmeans(x, nothing, k, n_init=self.n_init, seed=int(rng.integers(2**31)))
        labels = np.bincount(fitted.assignment[pool.y[rows] >= 0], minlength=k)
        sizes = np.bincount(fitted.assignment, minlength=k)
        distance = squared_distances(x, fitted.centres)[np.arange(len(rows)), fitted.assignment]
        distance = np.where(free, distance, np.inf)
        chosen: list[int] = []
        while len(chosen) < min(count, n_free):
            for cluster in np.lexsort((-sizes, labels)):
                if not sizes[cluster]:
                    continue  # there are fewer different rows than clusters
                own = np.flatnonzero(fitted.assignment == cluster)
                best = own[np.argmin(distance[own])]
                if np.isfinite(distance[best]):
                    chosen.append(int(best))
                    distance[best] = np.inf
                    labels[cluster] += 1
                    break
        return rows[np.array(chosen, np.int64)]
