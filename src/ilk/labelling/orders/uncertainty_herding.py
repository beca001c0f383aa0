"""Coverage of the images that the model is unsure of.

Wonho Bae, Danica J. Sutherland, Gabriel L. Oliveira, 2024, Uncertainty Herding: One Active Learning
Method for All Label Budgets, arXiv 2412.20644: as MaxHerding, with each row weighed by how unsure
the model is of it, here by 1 minus the margin between the two best classes.

Departure: the width of the kernel is fixed, and the probabilities are calibrated on left-out labels
rather than on a held-out set.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.labelling.orders.max_herding import choose_greedily, compute_kernel
from ilk.labelling.orders.order import OrderTags, Pool


@dataclass(frozen=True)
class UncertaintyHerding(OrderTags):
    """Greedy coverage, weighed by uncertainty.

    Attributes:
        width: Standard deviation of the Gaussian kernel, > 0.
    """

    width: float = 1.0

    def __post_init__(self) -> None:
        if not self.width > 0:
            raise ValueError(f"width is {self.width}; it must be positive")

    def choose(self, pool: Pool, count: int, seed: int) -> NDArray[np.int64]:
        """Return the positions of the rows to label next, `[<= count]`."""
        rows = pool.draw_sample(np.random.default_rng(seed))
        x, labelled = pool.x[rows], pool.y[rows] >= 0
        similarity = compute_kernel(x, x, self.width)
        covered = similarity[:, labelled].max(1, initial=0.0)
        weight = np.asarray(1 - pool.compute_margins()[rows], np.float32)
        return rows[choose_greedily(similarity, covered, pool.can_ask[rows], count, weight)]
