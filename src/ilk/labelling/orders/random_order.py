"""Random order: what every other order is compared with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.labelling.orders.order import OrderTags, Pool


@dataclass(frozen=True)
class RandomOrder(OrderTags):
    """Images in random order."""

    def choose(self, pool: Pool, count: int, seed: int) -> NDArray[np.int64]:
        """Return the positions of the rows to label next, `[<= count]`."""
        rows = np.flatnonzero(pool.can_ask)
        return np.random.default_rng(seed).permutation(rows)[:count]
