"""More like these, less like those: a query moved by examples.

J. J. Rocchio, 1971, Relevance Feedback in Information Retrieval, in The SMART Retrieval System.
With unit rows, L the liked and U the disliked ones,

    q = alpha mean(Q) + beta mean(L) - gamma mean(U),    similarity(x) = q'x / |q|

A mean of no rows is 0. alpha = 1 and beta = 0.75 are the usual weights, and gamma = 0.15 is usual
for word counts (Manning, Raghavan, Schütze, 2008, Introduction to Information Retrieval, section
9.1.1). Here gamma is 0.75 as well: features of images share much, which only a difference of equal
weights takes away. It was chosen on training images of CIFAR-10 and MNIST; `ilk bench
search_quality` compares.
"""

from __future__ import annotations

import numpy as np

from ilk.core.data import Features
from ilk.maths.nearest_rows import to_unit

ALPHA, BETA, GAMMA = 1.0, 0.75, 0.75


def move_query(
    queries: Features, liked: Features, disliked: Features, gamma: float = GAMMA
) -> Features:
    """Return the moved query `[d]`, of length 1; of length 0 if everything cancels.

    Args:
        queries: Unit rows, `[m, d]`; may be empty, as the others.
        liked: Unit rows, `[l, d]`.
        disliked: Unit rows, `[u, d]`.
        gamma: Weight of the disliked rows, >= 0.
    """
    moved = np.zeros(queries.shape[1])
    for weight, rows in ((ALPHA, queries), (BETA, liked), (-gamma, disliked)):
        if len(rows):
            moved += weight * np.asarray(rows, np.float64).mean(0)
    return to_unit(moved[None])[0]
