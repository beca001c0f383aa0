"""Classes cut into subclasses of equal size: k-means on the sphere in which centres fill up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ilk.data import Labels

ROUNDS = 3  # of k-means, each time from the subclasses before


def subclasses(
    z: NDArray[np.float64], y: Labels, size: int, before: Labels, rng: np.random.Generator
) -> Labels:
    """The subclass of each row of unit vectors `z [n, h]`, numbered through all classes, `[n]`.

    `before` holds those that k-means starts from; where it is empty, rows drawn without return.
    """
    counts = np.bincount(y)
    number = np.maximum(1, counts // max(counts[counts > 0].min(), size))
    first = np.cumsum(number) - number
    out = np.zeros(len(y), np.int64)
    for c in np.flatnonzero(counts):
        rows, m = np.flatnonzero(y == c), int(number[c])
        if m == 1:
            out[rows] = first[c]
            continue
        at = before[rows] - first[c] if len(before) else np.full(len(rows), -1)
        if (at < 0).any():
            at[rng.choice(len(rows), m, replace=False)] = np.arange(m)
        for _ in range(ROUNDS):
            centre = np.stack([z[rows[at == j]].sum(0) for j in range(m)])
            length = np.linalg.norm(centre, axis=1, keepdims=True)
            at = filled(z[rows] @ (centre / np.maximum(length, 1e-12)).T, -(-len(rows) // m))
        out[rows] = first[c] + at
    return out


def filled(similarity: NDArray[np.float64], room: int) -> Labels:
    """A centre for each row of `similarity [n, m]`, none with more than `room` rows, `n <= m room`.

    Each row asks for the most similar centre with room left; a centre takes the most similar of
    those that ask, and the rest ask again.
    """
    home, left = np.full(len(similarity), -1), np.full(similarity.shape[1], room)
    while len(free := np.flatnonzero(home < 0)):
        asked = np.where(left > 0, similarity[free], -np.inf)
        wish = asked.argmax(1)
        keen = np.argsort(-asked.max(1), kind="stable")
        for c in np.unique(wish):
            taken = keen[wish[keen] == c][: left[c]]
            home[free[taken]] = c
            left[c] -= len(taken)
    return home
