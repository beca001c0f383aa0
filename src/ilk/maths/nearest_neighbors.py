"""Nearest neighbours within each class, and neighbours that are far closer than chance allows.

For points with a locally constant density in D dimensions, the ratio of the distances to the j-th
and the (j+1)-th nearest neighbour has P(d_j / d_{j+1} <= t) = t^(j D), independently for each j
(Elena Facco, Maria d'Errico, Alex Rodriguez, Alessandro Laio, 2017, Estimating the intrinsic
dimension of datasets by a minimal neighborhood information, equation 4, for j = 1; Francesco Denti
and others, 2022, The generalized ratios intrinsic dimension estimator, theorem 2.2). A cluster of
m + 1 points that depend on each other shows as a gap after the m-th neighbour that this law does
not allow. D is estimated, as maximum likelihood does, from the ratios of the farther half of the
neighbours, which small clusters do not reach; where they do, D is underestimated and fewer gaps
stand out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Features, Labels

N_NEIGHBORS = 32  # clusters of up to half as many rows and one show as a gap
MAX_WIDTH = 64  # features; more are projected at random, which keeps ratios of distances
MAX_ROWS = 20_000  # of one class: the cost grows with their square
BLOCK_VALUES = 2**23  # distances in memory at a time
LEVEL = 0.01  # probability of any false cluster of points under the law above
MAX_RATIO = 0.6  # a gap must also be wide


@dataclass(frozen=True, eq=False)
class Neighbors:
    """The nearest rows of the same class, nearest first.

    Attributes:
        index: Positions, `[n, k]`; -1 where a class has fewer rows.
        distance: Their distances, `[n, k]`; inf where there is none.
    """

    index: Labels
    distance: NDArray[np.float64]


def find_neighbors(x: Features, y: Labels, k: int = N_NEIGHBORS) -> Neighbors:
    """Return the nearest rows of the same class.

    Args:
        x: Features, `[n, d]`.
        y: Class of each row, `[n]`; rows with -1 have no neighbours.
        k: Number of neighbours.
    """
    n = len(x)
    x = _project(np.asarray(x, np.float32))
    index, distance = np.full((n, k), -1, np.int64), np.full((n, k), np.inf)
    for c in np.unique(y[y >= 0]):
        rows = np.flatnonzero(y == c)
        if not 2 <= len(rows) <= MAX_ROWS:
            continue
        part = x[rows] - x[rows].mean(0)
        norms = (part**2).sum(1)
        m = min(k, len(rows) - 1)
        step = max(1, BLOCK_VALUES // len(rows))
        for start in range(0, len(rows), step):
            block = slice(start, min(start + step, len(rows)))
            squared = norms[block, None] + norms - 2 * part[block] @ part.T
            own = np.arange(block.start, block.stop)
            squared[own - start, own] = np.inf
            nearest = np.argpartition(squared, m - 1, axis=1)[:, :m]
            exact = ((part[block, None] - part[nearest]) ** 2).sum(2, dtype=np.float64)
            order = np.argsort(exact, axis=1, kind="stable")
            index[rows[block], :m] = rows[np.take_along_axis(nearest, order, 1)]
            distance[rows[block], :m] = np.sqrt(np.take_along_axis(exact, order, 1))
    return Neighbors(index, distance)


def _project(x: Features) -> Features:
    """Return features of at most `MAX_WIDTH` columns."""
    if x.shape[1] <= MAX_WIDTH:
        return x
    axes = np.random.default_rng(0).normal(size=(x.shape[1], MAX_WIDTH)) / np.sqrt(MAX_WIDTH)
    return np.asarray(x @ axes.astype(np.float32), np.float32)


def find_close_pairs(neighbors: Neighbors, y: Labels) -> NDArray[np.int64]:
    """Return pairs of rows, `[m, 2]`, that are far closer than chance allows.

    A pair counts if each row lies before the gap of the other. Classes of fewer than five rows have
    no pairs.

    Args:
        neighbors: The nearest rows of the same class.
        y: Class of each row, `[n]`.
    """
    n_before = np.zeros(len(y), np.int64)
    for c in np.unique(y[y >= 0]):
        rows = np.flatnonzero(y == c)
        distance = neighbors.distance[rows]
        n_before[rows] = _count_before_gap(distance[:, : np.isfinite(distance[0]).sum()])
    rank = np.arange(neighbors.index.shape[1])
    i, j = np.nonzero(rank < n_before[:, None])
    pairs = np.column_stack([i, neighbors.index[i, j]])
    found = {(a, b) for a, b in pairs.tolist()}
    mutual = [(a, b) for a, b in found if a < b and (b, a) in found]
    return np.array(sorted(mutual), np.int64).reshape(-1, 2)


def _count_before_gap(distance: NDArray[np.float64]) -> Labels:
    """Return how many neighbours lie before a gap that chance does not allow, `[n]`; 0 for none."""
    n, k = distance.shape
    if k < 4:
        return np.zeros(n, np.int64)
    rank = np.arange(1, k)
    scale = np.maximum(distance[:, -1:], 1e-12)
    logs = np.log(np.maximum(distance, 1e-9 * scale))
    spacing = rank * np.diff(logs, axis=1)  # exponential with rate D
    far = spacing[:, k // 2 :].mean()
    dimension = 1 / far if far > 0 else np.inf
    near = spacing[:, : k // 2]
    log_p = -dimension * near
    is_gap = (log_p < np.log(LEVEL / (n * near.shape[1]))) & (
        near / rank[: k // 2] > -np.log(MAX_RATIO)
    )
    best = np.argmin(np.where(is_gap, log_p, np.inf), axis=1)
    return np.where(is_gap.any(1), best + 1, 0)
