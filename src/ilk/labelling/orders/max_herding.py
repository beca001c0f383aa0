"""Images that cover the others best, weighed by similarity.

Wonho Bae, Junhyug Noh, Danica J. Sutherland, 2024, Generalized Coverage for More Robust Low-Budget
Active Learning, arXiv 2407.12212: the next row is the one that raises most the mean over all rows x
of their greatest similarity to a labelled row, max_l k(x, l) ("MaxHerding"), with the Gaussian
kernel of width 1 on unit rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.labelling.orders.coverage import check_width, choose_covering
from ilk.labelling.orders.order import OrderTags, Pool


@dataclass(frozen=True)
class MaxHerding(OrderTags):
    """Greedy generalized coverage.

    Attributes:
        width: Standard deviation of the Gaussian kernel, > 0.
    """

    width: float = 1.0

    def __post_init__(self) -> None:
        check_width(self.width)

    def choose(self, pool: Pool, count: int, seed: int) -> NDArray[np.int64]:
        """Return the positions of the rows to label next, `[<= count]`."""
        return choose_covering(pool, count, seed, self.width)
