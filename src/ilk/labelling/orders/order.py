"""The contract of this folder: which images to label next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Features, Labels

MAX_ROWS = 4_000  # of large pools, a random sample of this size is clustered or covered


@dataclass(frozen=True, eq=False)
class Pool:
    """All images of a session, as an order sees them.

    Attributes:
        x: Unit rows, `[n, d]`.
        y: Class of each row, `[n]`, -1 where unknown.
        can_ask: Whether a row may be chosen, `[n]`.
        probabilities: Calibrated probabilities of the current model, `[n, k]`; None before there is
            one.
    """

    x: Features
    y: Labels
    can_ask: NDArray[np.bool_]
    probabilities: NDArray[Any] | None = None

    def draw_sample(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return all labelled rows and at most `MAX_ROWS` others, drawn at random, `[m]`."""
        others = np.flatnonzero(self.y < 0)
        if len(others) > MAX_ROWS:
            others = np.sort(rng.choice(others, MAX_ROWS, replace=False))
        return np.concatenate([np.flatnonzero(self.y >= 0), others])

    def compute_margins(self) -> NDArray[np.float64]:
        """Return how far the best class leads the second, `[n]`; zeros without a model."""
        if self.probabilities is None or self.probabilities.shape[1] < 2:
            return np.zeros(len(self.x))
        top = np.partition(self.probabilities, -2, axis=1)[:, -2:]
        return np.asarray(top[:, 1] - top[:, 0], np.float64)


class OrderTags:
    """Base of the orders: frozen dataclasses with working defaults.

    `choose(pool, count, seed)` returns the positions of at most `count` rows that may be asked, the
    next one first.
    """

    def choose(self, pool: Pool, count: int, seed: int, /) -> NDArray[np.int64]:
        """Return the positions of the rows to label next, `[<= count]`."""
        raise NotImplementedError
