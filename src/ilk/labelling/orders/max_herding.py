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

from ilk.core.data import Features
from ilk.labelling.order import OrderTags, Pool


@dataclass(frozen=True)
class MaxHerding(OrderTags):
    """Greedy generalized coverage.

    Attributes:
        width: Standard deviation of the Gaussian kernel, > 0.
    """

    width: float = 1.0

    def __post_init__(self) -> None:
        if not self.width > 0:
            raise ValueError(f"width is {self.width}; it must be positive")

    def choose(self, pool: Pool, count: int, seed: int) -> NDArray[np.int64]:
        rows = pool.draw_sample(np.random.default_rng(seed))
        x, labelled = pool.x[rows], pool.y[rows] >= 0
        similarity = compute_kernel(x, x, self.width)
        covered = similarity[:, labelled].max(1, initial=0.0)
        return rows[choose_greedily(similarity, covered, pool.can_ask[rows], count)]


def compute_kernel(x: Features, other: Features, width: float) -> NDArray[np.float32]:
    """Return the Gaussian kernel `[n, m]` of unit rows `[n, d]` and `[m, d]`."""
    return np.exp((np.minimum(x @ other.T, 1) - 1) / np.float32(width**2))


def choose_greedily(
    similarity: NDArray[np.float32],
    covered: NDArray[np.float32],
    can_ask: NDArray[np.bool_],
    count: int,
    weight: NDArray[np.float32] | None = None,
) -> NDArray[np.int64]:
    """Return the positions of the rows that add most to the coverage, one after the other.

    Args:
        similarity: Of every row to every row, `[n, n]`, at least 0.
        covered: Greatest similarity of each row to a labelled one, `[n]`.
        can_ask: Whether a row may be chosen, `[n]`.
        count: Number of rows at most.
        weight: How much the coverage of each row counts, `[n]`; None counts each once.
    """
    candidates = np.flatnonzero(can_ask)
    columns, covered = similarity[:, candidates], covered.copy()
    chosen: list[int] = []
    for _ in range(min(count, len(candidates))):
        gain = np.maximum(columns - covered[:, None], 0)
        total = gain.sum(0) if weight is None else weight @ gain
        total[chosen] = -1
        best = int(total.argmax())
        chosen.append(best)
        covered = np.maximum(covered, columns[:, best])
    return np.asarray(candidates[chosen], np.int64)
