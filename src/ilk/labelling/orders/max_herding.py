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
from ilk.labelling.orders.order import OrderTags, Pool

CHUNK_SIZE = 256


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
        """Return the positions of the rows to label next, `[<= count]`."""
        rows = pool.draw_sample(np.random.default_rng(seed))
        x, labelled = pool.x[rows], pool.y[rows] >= 0
        similarity = compute_kernel(x, x, self.width)
        covered = similarity[:, labelled].max(1, initial=0.0)
        return rows[choose_greedily(similarity, covered, pool.can_ask[rows], count)]


def compute_kernel(x: Features, other: Features, width: float) -> NDArray[np.float32]:
    """Return the Gaussian kernel `[n, m]` of unit rows `[n, d]` and `[m, d]`."""
    return np.asarray(np.exp((np.minimum(x @ other.T, 1) - 1) / np.float32(width**2)), np.float32)


def choose_greedily(
    similarity: NDArray[np.float32],
    covered: NDArray[np.float32],
    can_ask: NDArray[np.bool_],
    count: int,
    weight: NDArray[np.float32] | None = None,
) -> NDArray[np.int64]:
    """Return the positions of the rows that add most to the coverage, one after the other.

    What a row adds only falls as others are chosen, so a row whose newest value exceeds the older
    values of all others is the best (Michel Minoux, 1978, doi:10.1007/BFb0006528).

    Args:
        similarity: Of every row to every row, symmetric, `[n, n]`, at least 0.
        covered: Greatest similarity of each row to a labelled one, `[n]`.
        can_ask: Whether a row may be chosen, `[n]`.
        count: Number of rows at most.
        weight: How much the coverage of each row counts, `[n]`; None counts each once.
    """
    weight = np.ones(len(covered), np.float32) if weight is None else weight
    covered, candidates = covered.copy(), np.flatnonzero(can_ask)
    bound = np.full(len(covered), -np.inf)
    for at in range(0, len(candidates), CHUNK_SIZE):
        rows = candidates[at : at + CHUNK_SIZE]
        bound[rows] = np.maximum(similarity[rows] - covered, 0) @ weight
    chosen: list[int] = []
    is_new = np.ones(len(covered), bool)
    while len(chosen) < min(count, len(candidates)):
        best = int(bound.argmax())
        if not is_new[best]:
            bound[best] = np.maximum(similarity[best] - covered, 0) @ weight
            is_new[best] = True
            continue
        chosen.append(best)
        covered = np.maximum(covered, similarity[best])
        is_new[:], bound[best] = False, -np.inf
    return np.array(chosen, np.int64)
