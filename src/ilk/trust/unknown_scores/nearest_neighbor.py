"""Distance to the nearest known image, on rows of length 1.

Yiyou Sun, Yifei Ming, Xiaojin Zhu, Yixuan Li, 2022, Out-of-Distribution Detection with Deep Nearest
Neighbors, arXiv 2204.06507, with k = 1:

    score(x) = min_i |x / |x| - x_i / |x_i||^2 / 2 = 1 - max_i cos(x, x_i)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ilk.core.data import Features
from ilk.core.linear_models import normalize_rows
from ilk.trust.known_rows import KnownRows, Matrix, Scorer, UnknownScore

CHUNK_SIZE = 2048  # rows scored at a time


@dataclass(frozen=True)
class NearestNeighbor(UnknownScore):
    """One minus the cosine with the most similar known row."""

    label = "nearest neighbour"

    def fit(self, known: KnownRows) -> Scorer:
        reference = normalize_rows(np.asarray(known.x, np.float64))

        def score(x: Features) -> Matrix:
            parts = [
                1.0 - (normalize_rows(np.asarray(part, np.float64)) @ reference.T).max(1)
                for part in np.split(x, range(CHUNK_SIZE, len(x), CHUNK_SIZE))
            ]
            return np.concatenate(parts)

        return score
