"""Greedy coverage: what the orders by herding share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Features
from ilk.labelling.orders.order import Pool

CHUNK_SIZE = 256


def check_width(width: float) -> None:
    """Raise ValueError unless the width of a kernel is positive."""
    if not width > 0:
        raise ValueError(f"width is {width}; it must be positive")


def choose_covering(
    pool: Pool,
    count: int,
    seed: int,
    width: float,
    weight: NDArray[np.float32] | None = None,
) -> NDArray[np.int64]:
    """Return the rows of a pool that cover the others best, the next one first, `[<= count]`.

    Args:
        pool: The pool, of which a sample is taken where it is large.
        count: Number of rows at most.
        seed: Seed of the sample.
        width: Standard deviation of the Gaussian kernel.
        weight: How much the coverage of each row of the pool counts, `[n]`; None counts each once.
    """
    rows = pool.draw_sample(np.random.default_rng(seed))
    x, labelled = pool.x[rows], pool.y[rows] >= 0
    similarity = compute_kernel(x, x, width)
    covered = similarity[:, labelled].max(1, initial=0.0)
    weight = None if weight is None else weight[rows]
    return rows[choose_greedily(similarity, covered, pool.can_ask[rows], count, weight)]


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
