"""How well rows retrieve rows of their class: recall at k, R-precision, mAP@R, average precision.

Similarity is the inner product of rows of unit length (cosine). Every row is a query whose gallery
is all others, or queries and gallery are apart. A query without a row of its class in the gallery
says nothing and counts nowhere.

- recall at k: the share of queries with at least one row of their class among the k nearest (what
  metric learning calls so; it is not the recall of information retrieval);
- R-precision: the share of rows of the class among the R nearest, R their number in the gallery;
- mAP@R: `1 / R sum_{i <= R} [i-th is of the class] precision at i`, not divided by the number of
  hits (Kevin Musgrave, Serge Belongie, Ser-Nam Lim, 2020, A Metric Learning Reality Check,
  arXiv 2003.08505, equation 1);
- average precision: the same over the whole gallery.

Rows at equal similarity have no order: all figures are expectations over random orders of them
(Frank McSherry, Marc Najork, 2008, Computing Information Retrieval Performance Measures Efficiently
in the Presence of Tied Scores, doi:10.1007/978-3-540-78646-7_38). Hash codes tie nearly everywhere,
and any other rule would let the order of the files count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.core.linear_models import normalize_rows
from ilk.maths.clustering_agreement import ami, nmi

__all__ = [
    "RetrievalScores",
    "ami",
    "average_precision",
    "bootstrap_classes",
    "map_at_r",
    "mean_known",
    "nmi",
    "r_precision",
    "recall_at_k",
    "score_retrieval",
    "score_similarities",
]

Matrix = NDArray[np.floating[Any]]
Vector = NDArray[np.float64]

BLOCK_VALUES = 2**22  # similarities at a time


@dataclass(frozen=True, eq=False)
class RetrievalScores:
    """Scores of each query, nan for one without a row of its class in the gallery.

    Attributes:
        recall: Recall at each of the requested k, `[len(k), n]`, in [0, 1].
        r_precision: `[n]`, in [0, 1].
        ap_at_r: Average precision at R, `[n]`, in [0, 1]; its mean is mAP@R.
    """

    recall: Vector
    r_precision: Vector
    ap_at_r: Vector


def score_retrieval(
    x: Matrix,
    y: Labels,
    gallery: Matrix | None = None,
    gallery_y: Labels | None = None,
    *,
    k: Sequence[int] = (1,),
    groups: Labels | None = None,
) -> RetrievalScores:
    """Return the scores of each row as a query, by cosine.

    Args:
        x: Queries, `[n, d]`, of any length.
        y: Their classes, `[n]`.
        gallery: Rows to find, `[m, d]`; None takes the queries, each without itself.
        gallery_y: Their classes, `[m]`.
        k: Depths of the recall, each >= 1.
        groups: Group of each query, `[n]`, where the gallery is the queries: rows of the query's
            group, such as pictures of one animal, are not in its gallery either; -1 is a group of
            its own.
    """
    queries = normalize_rows(x)
    is_same_set = gallery is None
    rows = queries if gallery is None else normalize_rows(gallery)
    row_y = y if gallery_y is None else gallery_y
    block = max(1, BLOCK_VALUES // max(len(rows), 1))
    parts = []
    for at in range(0, len(queries), block):
        part = slice(at, at + block)
        similarity = queries[part] @ rows.T
        relevant = y[part, None] == row_y[None]
        if is_same_set:  # the query itself comes last and is of no class
            own = np.arange(at, at + len(similarity))[:, None] == np.arange(len(rows))
            if groups is not None:
                own |= (groups[part, None] == groups) & (groups[part, None] >= 0)
            similarity[own], relevant[own] = -np.inf, False
        parts.append(score_similarities(similarity, relevant, k=k))
    return RetrievalScores(
        np.concatenate([p.recall for p in parts], axis=1),
        np.concatenate([p.r_precision for p in parts]),
        np.concatenate([p.ap_at_r for p in parts]),
    )


def score_similarities(
    similarity: Matrix, relevant: NDArray[np.bool_], *, k: Sequence[int] = (1,)
) -> RetrievalScores:
    """Return the scores of queries from their similarities, such as negative Hamming distances.

    Args:
        similarity: Of each query to each row of the gallery, `[n, m]`; -inf takes a row out.
        relevant: Whether the row is of the query's class, `[n, m]`.
        k: Depths of the recall, each >= 1.
    """
    n_relevant = relevant.sum(1)
    depth = max(*k, int(n_relevant.max(initial=1)))
    ranks = _Ranks.sort(similarity, relevant, depth)
    chance, precision = ranks.compute_chances(), ranks.compute_precisions()
    within = np.arange(chance.shape[1]) < n_relevant[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        r_precision = np.where(within, chance, 0).sum(1) / n_relevant
        ap_at_r = np.where(within, chance * precision, 0).sum(1) / n_relevant
    recall = np.stack([ranks.compute_recall(depth) for depth in k])
    recall[:, n_relevant == 0] = np.nan
    return RetrievalScores(recall, r_precision, ap_at_r)


def recall_at_k(x: Matrix, y: Labels, k: int = 1) -> float:
    """Return the share of rows `[n, d]` with a row of their class among the k nearest others."""
    return mean_known(score_retrieval(x, y, k=(k,)).recall[0])


def r_precision(x: Matrix, y: Labels) -> float:
    """Return the mean R-precision of rows `[n, d]`, each a query among all others."""
    return mean_known(score_retrieval(x, y).r_precision)


def map_at_r(x: Matrix, y: Labels) -> float:
    """Return mAP@R of rows `[n, d]`, each a query among all others."""
    return mean_known(score_retrieval(x, y).ap_at_r)


def mean_known(values: NDArray[np.floating[Any]]) -> float:
    """Return the mean of the values `[n]` that are not nan; nan if there are none."""
    known = values[np.isfinite(values)]
    return float(np.mean(known)) if len(known) else float("nan")


def average_precision(
    similarity: Matrix, relevant: NDArray[np.bool_], cutoff: int | None = None
) -> Vector:
    """Return the average precision of each query, `[n]`, in [0, 1]; nan without a relevant row.

    With a cut-off c the sum ends there and is divided by `min(c, R)`, so that 1 can be reached.

    Args:
        similarity: Of each query to each row, `[n, m]`, such as negative Hamming distances.
        relevant: Whether the row is of the query's class, `[n, m]`.
        cutoff: Number of ranks that count; None counts all.
    """
    depth = similarity.shape[1] if cutoff is None else min(cutoff, similarity.shape[1])
    ranks = _Ranks.sort(similarity, relevant, depth)
    total = (ranks.compute_chances() * ranks.compute_precisions()).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(total / np.minimum(relevant.sum(1), depth))


def bootstrap_classes(
    values: NDArray[np.floating[Any]],
    y: Labels,
    *,
    n_draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float, float]:
    """Return the mean of a value per query, and its interval over draws of whole classes.

    Images of a class are retrieved well or badly together, so that drawing images would give too
    narrow an interval. Queries whose value is nan are left out.

    Args:
        values: Score of each query, or the difference of two, `[n]`.
        y: Class of each query, `[n]`.
        n_draws: Number of draws.
        seed: Seed of the draws.
        level: Level of the interval, in (0, 1).
    """
    known = np.isfinite(values)
    _, group = np.unique(y[known], return_inverse=True)
    sums, counts = np.bincount(group, values[known]), np.bincount(group)
    if not len(sums):
        return float("nan"), float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    times = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=n_draws)
    means = (times @ sums) / (times @ counts)
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(sums.sum() / counts.sum()), float(low), float(high)


@dataclass(frozen=True, eq=False)
class _Ranks:
    """The first ranks of each query, with the group of equal similarities that each belongs to.

    Attributes:
        start: First rank of the group, `[n, depth]`, from 0.
        size: Rows in the group, beyond the last rank too, `[n, depth]`.
        hits: Relevant rows in the group, likewise.
        before: Relevant rows before the group, `[n, depth]`.
    """

    start: NDArray[np.int64]
    size: NDArray[np.int64]
    hits: NDArray[np.int64]
    before: NDArray[np.int64]

    @classmethod
    def sort(cls, similarity: Matrix, relevant: NDArray[np.bool_], depth: int) -> _Ranks:
        n, m = similarity.shape
        depth = min(depth, m)
        if depth < m:
            columns = np.argpartition(-similarity, depth - 1, axis=1)[:, :depth]
        else:
            columns = np.broadcast_to(np.arange(m), (n, m))
        values = np.take_along_axis(similarity, columns, 1)
        order = np.argsort(-values, axis=1, kind="stable")
        values = np.take_along_axis(values, order, 1)
        found = np.take_along_axis(np.take_along_axis(relevant, columns, 1), order, 1)
        rank = np.arange(depth)
        is_first = np.ones((n, depth), bool)
        is_first[:, 1:] = values[:, 1:] != values[:, :-1]
        start = np.maximum.accumulate(np.where(is_first, rank, 0), axis=1)
        ends = np.full((n, depth), depth)
        ends[:, :-1] = np.where(is_first[:, 1:], rank[1:], depth)
        end = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
        total = np.concatenate([np.zeros((n, 1), np.int64), found.cumsum(1)], axis=1)
        before = np.take_along_axis(total, start, 1)
        hits, size = np.take_along_axis(total, end, 1) - before, end - start
        # The last group may go on behind the last rank: its rows are counted in the whole gallery.
        is_tied = similarity == values[:, -1:]
        is_last = end == depth
        size = np.where(is_last, is_tied.sum(1)[:, None], size)
        hits = np.where(is_last, (is_tied & relevant).sum(1)[:, None], hits)
        return cls(start, size, hits, before)

    def compute_chances(self) -> Vector:
        """Return the probability that the row at each rank is relevant, `[n, depth]`."""
        return np.asarray(self.hits / self.size)

    def compute_precisions(self) -> Vector:
        """Return the expected precision at each rank, given that its row is relevant."""
        rank = np.arange(self.start.shape[1])
        place = rank - self.start
        share = (self.hits - 1) / np.maximum(self.size - 1, 1)
        return np.asarray((self.before + 1 + place * share) / (rank + 1))

    def compute_recall(self, k: int) -> Vector:
        """Return the probability of at least one relevant row in the first k ranks, `[n]`."""
        from scipy.special import gammaln

        at = min(k, self.start.shape[1]) - 1
        drawn = at + 1 - self.start[:, at]
        size, misses = self.size[:, at], self.size[:, at] - self.hits[:, at]
        # C(misses, drawn) / C(size, drawn): no relevant row among those drawn from the group
        rest = np.maximum(misses - drawn, 0)
        log_none = (
            gammaln(misses + 1) - gammaln(rest + 1) - gammaln(size + 1) + gammaln(size - drawn + 1)
        )
        none = np.where(misses >= drawn, np.exp(np.minimum(log_none, 0)), 0.0)
        return np.where(self.before[:, at] > 0, 1.0, 1 - none)
