"""Rows near the target: the mean cosine similarity to the nearest images of the target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ilk.core.data import Data
from ilk.subset_selection.selectors.selector import (
    Scores,
    SelectorTags,
    require_target,
    standardize,
)

CHUNK_SIZE = 1024  # rows at a time


@dataclass(frozen=True)
class NearestTarget(SelectorTags):
    """Mean similarity to the nearest target rows.

    Attributes:
        neighbours: Number of target rows, >= 1; fewer if the target has fewer.
    """

    needs_target: ClassVar[bool] = True

    neighbours: int = 5

    def __post_init__(self) -> None:
        if self.neighbours < 1:
            raise ValueError(f"neighbours is {self.neighbours}; it must be at least 1")

    def score(self, source: Data, target: Data | None, _seed: int) -> Scores:
        """Return the mean cosine similarity, `[n]` in [-1, 1]."""
        x, t = standardize(source.x, require_target(target).x)
        x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
        t /= np.maximum(np.linalg.norm(t, axis=1, keepdims=True), 1e-12)
        k, out = min(self.neighbours, len(t)), np.zeros(len(x))
        for at in range(0, len(x), CHUNK_SIZE):
            similar = x[at : at + CHUNK_SIZE] @ t.T
            out[at : at + CHUNK_SIZE] = np.partition(similar, -k, axis=1)[:, -k:].mean(1)
        return out
