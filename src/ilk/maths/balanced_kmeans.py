"""Balanced spherical k-means, which splits classes into subclasses of similar size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels

N_ITER = 3  # k-means iterations, warm-started from the previous subclasses


def split_subclasses(
    z: NDArray[np.float64], y: Labels, min_size: int, previous: Labels, rng: np.random.Generator
) -> Labels:
    """Return the subclass of each row, numbered consecutively over all classes, `[n]`.

    Args:
        z: Unit vectors, `[n, h]`.
        y: Class of each row, `[n]`.
        min_size: Minimum size of a subclass, at least that of the smallest class.
        previous: Subclasses to start from, `[n]`; empty starts from random rows.
        rng: Source of the random rows.
    """
    counts = np.bincount(y)
    n_subclasses = np.maximum(1, counts // max(counts[counts > 0].min(), min_size))
    offsets = np.cumsum(n_subclasses) - n_subclasses
    out = np.zeros(len(y), np.int64)
    for c in np.flatnonzero(counts):
        rows, m = np.flatnonzero(y == c), int(n_subclasses[c])
        if m == 1:
            out[rows] = offsets[c]
            continue
        assignment = previous[rows] - offsets[c] if len(previous) else np.full(len(rows), -1)
        if (assignment < 0).any():
            assignment[rng.choice(len(rows), m, replace=False)] = np.arange(m)
        for _ in range(N_ITER):
            centre = np.stack([z[rows[assignment == j]].sum(0) for j in range(m)])
            length = np.linalg.norm(centre, axis=1, keepdims=True)
            assignment = assign_balanced(
                z[rows] @ (centre / np.maximum(length, 1e-12)).T, -(-len(rows) // m)
            )
        out[rows] = offsets[c] + assignment
    return out


def assign_balanced(similarity: NDArray[np.float64], capacity: int) -> Labels:
    """Return the centre of each row, `[n]`, with at most `capacity` rows per centre.

    Each row proposes to the most similar centre with free capacity; a centre accepts the most
    similar of its proposals, and the other rows propose again.

    Args:
        similarity: `[n, m]`, with n <= m * capacity.
        capacity: Maximum number of rows of a centre.
    """
    assignment, remaining = np.full(len(similarity), -1), np.full(similarity.shape[1], capacity)
    while len(unassigned := np.flatnonzero(assignment < 0)):
        open_similarity = np.where(remaining > 0, similarity[unassigned], -np.inf)
        preferred = open_similarity.argmax(1)
        order = np.argsort(-open_similarity.max(1), kind="stable")
        for c in np.unique(preferred):
            accepted = order[preferred[order] == c][: remaining[c]]
            assignment[unassigned[accepted]] = c
            remaining[c] -= len(accepted)
    return assignment
