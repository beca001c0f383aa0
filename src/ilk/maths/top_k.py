"""The k most similar rows of many, block by block, with ties in the order of their ids."""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Features

Ids = NDArray[np.int64]
Similarities = NDArray[np.float32]
NO_ID = -1  # where fewer than k rows are there
CROWDED = 16  # candidates per query, as a multiple of k, above which a block is cut down first


class TopK:
    """The k best of the rows that `update` was given so far, for each of m queries.

    Attributes:
        ids: `[m, k]` int64, best first; `NO_ID` where there are fewer.
        similarity: `[m, k]` float32, descending; `-inf` where there are fewer.
    """

    def __init__(self, m: int, k: int) -> None:
        """Start without rows."""
        self.ids: Ids = np.full((m, k), NO_ID, np.int64)
        self.similarity: Similarities = np.full((m, k), -np.inf, np.float32)

    def update(self, ids: Ids, similarity: NDArray[Any]) -> None:
        """Add rows; equal similarities are ordered by id if ids ascend from call to call.

        Args:
            ids: Ids of the rows, `[b]`.
            similarity: Their similarity to each query, `[m, b]`; `-inf` leaves a row out.
        """
        k, b = self.ids.shape[1], similarity.shape[1]
        better = np.flatnonzero(similarity > self.similarity[:, -1:])
        if b > k and len(better) > CROWDED * k * len(self.ids):
            worst = np.maximum(self.similarity[:, -1], np.partition(similarity, b - k)[:, b - k])
            better = np.flatnonzero((similarity >= worst[:, None]) & np.isfinite(similarity))
        if not len(better):
            return
        query, column = np.divmod(better, b)  # faster than np.nonzero of two axes
        touched = np.unique(query)
        owner = np.concatenate([np.repeat(touched, k), query])
        names = np.concatenate([self.ids[touched].ravel(), ids[column]])
        values = np.concatenate([self.similarity[touched].ravel(), similarity[query, column]])
        order = np.lexsort((names, -values, owner))
        rank = np.arange(len(order)) - np.searchsorted(owner[order], owner[order])
        kept = order[rank < k]
        self.ids[touched] = names[kept].reshape(-1, k)
        self.similarity[touched] = values[kept].reshape(-1, k)

    def view(self, queries: slice) -> TopK:
        """Return the k best of some of the queries, which are updated here as well."""
        part = copy(self)
        part.ids, part.similarity = self.ids[queries], self.similarity[queries]
        return part


def find_top_k(
    queries: Features, ids: Ids, rows: Features, k: int, block: int = 8192
) -> tuple[Ids, Similarities]:
    """Return the ids `[m, k]` and inner products `[m, k]` of the k best rows, best first.

    Args:
        queries: `[m, d]`.
        ids: Ids of the rows, `[n]`, ascending.
        rows: `[n, d]`.
        k: Number of rows to return.
        block: Rows per product.
    """
    best = TopK(len(queries), k)
    for start in range(0, len(rows), block):
        part = slice(start, start + block)
        best.update(ids[part], queries @ np.asarray(rows[part], np.float32).T)
    return best.ids, best.similarity


def measure_overlap(found: Ids, true: Ids) -> NDArray[np.float64]:
    """Return which fraction of the true ids was found, per query, `[m]` in [0, 1]: recall at k.

    Args:
        found: `[m, k]`.
        true: `[m, k]`; `NO_ID` is none.
    """
    hits = (found[:, :, None] == true[:, None, :]) & (true[:, None, :] != NO_ID)
    return np.asarray(hits.any(1).sum(1) / np.maximum((true != NO_ID).sum(1), 1), np.float64)
