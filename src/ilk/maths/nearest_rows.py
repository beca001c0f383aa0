"""The rows of a table most similar to each query by cosine: exact, block by block.

A block of queries meets a block of rows in one product; of it only what exceeds the k-th best so
far is kept. Memory is bounded by `BLOCK_VALUES` products, one block of rows and the queries,
whatever the number of rows, which may lie in a memory map and in half precision.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.maths.top_k import Similarities, TopK

Rows = NDArray[Any]  # [n, d], any floating type
Positions = NDArray[np.int64]

BLOCK_VALUES = 2**23  # products in memory at a time: 32 MB
BLOCK_QUERIES = 1024


def to_unit(x: Rows) -> NDArray[np.float32]:
    """Return rows `[n, d]` with Euclidean norm 1, float32; rows of zeros stay as they are.

    Rows are divided by their largest absolute value first, so that squares cannot overflow.
    """
    x = np.array(x, np.float32)
    if not x.size:
        return x
    scale = np.abs(x).max(1, keepdims=True)
    x /= np.where(scale > 0, scale, 1)
    norm = np.sqrt(np.einsum("ij,ij->i", x, x))[:, None]
    x /= np.where(norm > 0, norm, 1)
    return x


def find_nearest_rows(
    queries: Rows,
    rows: Rows,
    k: int,
    *,
    own: Positions | None = None,
    advance: Callable[[int], object] = lambda _n: None,
) -> tuple[Positions, Similarities]:
    """Return the `k` rows most similar to each query by cosine, most similar first.

    Of equally similar rows, the one that comes first is listed first.

    Args:
        queries: `[m, d]`.
        rows: `[n, d]`; read in blocks, so that a memory map is never loaded as a whole.
        k: Number of rows per query, at least 1.
        own: Position of each query among `rows`, `[m]`, which is left out of its answer; None if
            the queries are not among the rows.
        advance: Called with the number of queries that are done.

    Returns:
        Positions, `[m, k]`, and cosine similarities in [-1, 1] up to rounding, `[m, k]`; -1 and
        -inf where there are fewer rows.

    Raises:
        ValueError: `k` is below 1, or queries and rows differ in width.
    """
    if k < 1:
        raise ValueError(f"k is {k}; at least 1")
    if queries.shape[1] != rows.shape[1]:
        raise ValueError(f"queries of {queries.shape[1]} and rows of {rows.shape[1]} features")
    best = TopK(len(queries), k)
    step = max(1, BLOCK_VALUES // max(1, min(BLOCK_QUERIES, len(queries))))
    for start in range(0, len(queries), BLOCK_QUERIES):
        block = slice(start, start + BLOCK_QUERIES)
        unit, best_of_block = to_unit(queries[block]), best.view(block)
        for first in range(0, len(rows), step):
            products = unit @ to_unit(rows[first : first + step]).T
            if own is not None:
                place = own[block] - first
                inside = np.flatnonzero((place >= 0) & (place < products.shape[1]))
                products[inside, place[inside]] = -np.inf
            best_of_block.update(np.arange(first, first + products.shape[1]), products)
        advance(len(unit))
    return best.ids, best.similarity
