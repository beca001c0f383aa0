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

from ilk.labelling.orders.coverage import check_width, choose_covering
from ilk.labelling.orders.order import OrderTags, Pool


@dataclass(frozen=True)
class UncertaintyHerding(OrderTags):
    """Greedy coverage, weighed by uncertainty.

    Attributes:
        width: Standard deviation of the Gaussian kernel, > 0.
    """

    width: float = 1.0

    def __post_init__(self) -> None:
        check_width(self.width)

    def choose(self, pool: Pool, count: int, seed: int) -> NDArray[np.int64]:
        """Return the positions of the rows to label next, `[<= count]`."""
        weight = np.asarray(1 - pool.compute_margins(), np.float32)
        return choose_covering(pool, count, seed, self.width, weight)
