"""Typical images first, then those that the model is unsure of, one of each cluster."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.labelling.orders.cluster_margin import ClusterMargin
from ilk.labelling.orders.max_herding import MaxHerding
from ilk.labelling.orders.order import OrderTags, Pool


@dataclass(frozen=True)
class HerdingThenMargin(OrderTags):
    """Coverage while labels are few, then margins within clusters.

    Attributes:
        per_class: Labels per known class from which on margins are asked, >= 1.
    """

    per_class: float = 5.0

    def __post_init__(self) -> None:
        if not self.per_class >= 1:
            raise ValueError(f"per_class is {self.per_class}; it must be at least 1")

    def choose(self, pool: Pool, count: int, seed: int) -> NDArray[np.int64]:
        """Return the positions of the rows to label next, `[<= count]`."""
        known = pool.y[pool.y >= 0]
        n_classes = len(np.unique(known))
        if pool.probabilities is None or len(known) < self.per_class * max(n_classes, 2):
            return MaxHerding().choose(pool, count, seed)
        return ClusterMargin().choose(pool, count, seed)
