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

Rows = NDArray[Any]  # [n, d], any floating type
Positions = NDArray[np.int64]
Similarities = NDArray[np.float32]

BLOCK_VALUES = 2**23  # products in memory at a time: 32 MB
BLOCK_QUERIES = 1024
CROWDED = 16  # candidates per query, as a multiple of k, above which a block is cut down first


def normalize_rows(x: Rows) -> NDArray[np.float32]:
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

    Of equally similar rows, the one that comes first is listed first; which of them are left out
    at the k-th place is not specified.

    Args:
        queries: `[m, d]`.
        rows: `[n, d]`; read in blocks, so that a memory map is never loaded as a whole.
        k: Number of rows per query, at least 1.
        own: Position of each query among `rows`, `[m]`, which is no answer to it; None where the
            queries are none of the rows.
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
    index = np.full((len(queries), k), -1, np.int64)
    similarity = np.full((len(queries), k), -np.inf, np.float32)
    step = max(1, BLOCK_VALUES // max(1, min(BLOCK_QUERIES, len(queries))))
    for start in range(0, len(queries), BLOCK_QUERIES):
        block = slice(start, start + BLOCK_QUERIES)
        unit = normalize_rows(queries[block])
        for first in range(0, len(rows), step):
            products = unit @ normalize_rows(rows[first : first + step]).T
            if own is not None:
                place = own[block] - first
                inside = np.flatnonzero((place >= 0) & (place < products.shape[1]))
                products[inside, place[inside]] = -np.inf
            _merge(index[block], similarity[block], products, first)
        advance(len(unit))
    return index, similarity


def _merge(index: Positions, similarity: Similarities, products: Similarities, first: int) -> None:
    """Put what is better in products `[m, b]` of rows from `first` on into the best `[m, k]`."""
    k = index.shape[1]
    query, column = np.nonzero(products > similarity[:, -1:])
    if len(query) > CROWDED * k * len(index) and k < products.shape[1]:
        kept = np.argpartition(products, -k, axis=1)[:, -k:]
        query, column = np.repeat(np.arange(len(index)), k), kept.ravel()
    if not len(query):
        return
    touched = np.unique(query)
    owner = np.concatenate([np.repeat(touched, k), query])
    position = np.concatenate([index[touched].ravel(), column + first])
    value = np.concatenate([similarity[touched].ravel(), products[query, column]])
    is_real = np.isfinite(value) | (position < 0)  # not the query itself
    owner, position, value = owner[is_real], position[is_real], value[is_real]
    order = np.lexsort((position, -value, owner))
    rank = np.arange(len(order)) - np.searchsorted(owner[order], owner[order])
    best = order[rank < k]
    index[touched] = position[best].reshape(-1, k)
    similarity[touched] = value[best].reshape(-1, k)
