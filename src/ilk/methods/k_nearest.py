"""The vote of the k nearest training rows, k chosen by leaving each row out.

Thomas M. Cover, Peter E. Hart, 1967, Nearest Neighbor Pattern Classification,
doi:10.1109/TIT.1967.1053964.

    score_c(x) = log((votes_c + 1 / m) / (k + 1))  with m classes seen, distances Euclidean

Votes fade by a hundredth from the nearest neighbour to the last, so that a tie goes to the nearer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.data import Data, Features, Labels, Logits
from ilk.models import Facts, learnable

PATH = (1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50)
JUDGED = 2000  # rows left out, at most, to choose k
SPARE = 16  # candidates beyond k that are measured exactly
FLOATS = 2**23  # the largest block of distances or differences: 32 MB or 64 MB


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The training rows themselves.

    Attributes:
        rows: `[n, d]` float32, less `centre`.
        y: Class of each row, `[n]` int64.
        centre: `[d]` float32.
        k: Neighbours that vote.
        classes: Number of classes.
    """

    rows: Features
    y: Labels
    centre: Features
    k: int
    classes: int

    def logits(self, x: Features) -> Logits:
        """Log of the smoothed share of votes, `[n, classes]` float64; `-inf` where never seen."""
        return self.scores(self.y[self.nearest(np.asarray(x, np.float64), self.k)], self.k)

    def scores(self, near: Labels, k: int) -> Logits:
        """What the first `k` of the neighbours' classes `near [n, m]` say."""
        seen = np.bincount(self.y, minlength=self.classes) > 0
        votes = np.zeros((len(near), self.classes))
        weights = 1 + 0.01 * (0.5 - (np.arange(k) + 0.5) / k)
        for rank, weight in enumerate(weights):
            votes[np.arange(len(near)), near[:, rank]] += weight
        share = np.where(seen, (votes + 1 / seen.sum()) / (k + 1), 0.0)
        return np.log(share, where=share > 0, out=np.full_like(share, -np.inf))

    def nearest(self, x: NDArray[np.float64], k: int, own: Labels | None = None) -> Labels:
        """Positions of the `k` nearest rows, nearest first, `[n, k]`; a tie goes to the earlier.

        A product in float32 proposes, differences in float64 decide, so that an answer does not
        hang on the size of the batch. `own` tells which row each `x` is, and is passed over.
        """
        n, d = self.rows.shape
        m = min(n, k + SPARE)
        step = max(1, min(FLOATS // n, FLOATS // (m * d)))
        length = np.einsum("ij,ij->i", self.rows, self.rows)
        out = np.empty((len(x), k), np.int64)
        for at in range(0, len(x), step):
            part = slice(at, at + step)
            z = (x[part] - self.centre).astype(np.float32)
            far = length - 2 * z @ self.rows.T
            if own is not None:
                far[np.arange(len(z)), own[part]] = np.inf
            near = np.sort(np.argpartition(far, m - 1, axis=1)[:, :m], axis=1)
            apart = z[:, None].astype(np.float64) - self.rows[near]
            exact = np.einsum("nmd,nmd->nm", apart, apart)
            if own is not None:
                exact[near == own[part][:, None]] = np.inf
            order = np.argsort(exact, axis=1, kind="stable")[:, :k]
            out[part] = np.take_along_axis(near, order, axis=1)
        return out


@dataclass(frozen=True)
class KNearest(Facts):
    """k nearest neighbours.

    Attributes:
        k: Neighbours that vote, >= 1; all rows where there are fewer. None takes, of 1 to 50, what
            answers most training rows rightly when each is left out, the larger where even.
        seed: Draws the rows that are left out where there are more than 2,000.
    """

    board = True

    k: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.k is not None and (self.k < 1 or self.k != int(self.k)):
            raise ValueError(f"k is {self.k}; it must be a whole number, at least 1, or None")

    def fit(self, data: Data) -> Neighbours:
        known = learnable(data, self)
        centre = known.x.mean(0, dtype=np.float64).astype(np.float32)
        rows = (known.x - centre).astype(np.float32)
        first = min(self.k or 1, len(rows))
        model = Neighbours(rows, known.y, centre, first, data.k)
        if self.k is not None:
            return model
        return Neighbours(rows, known.y, centre, self._chosen(model, known), data.k)

    def _chosen(self, model: Neighbours, known: Data) -> int:
        judged = np.flatnonzero(known.counts()[known.y] > 1)
        if not len(judged):
            return 1
        if len(judged) > JUDGED:
            judged = np.random.default_rng(self.seed).choice(judged, JUDGED, replace=False)
        path = [k for k in PATH if k < len(known)]
        near = known.y[model.nearest(known.x[judged].astype(np.float64), path[-1], judged)]
        right = [np.sum(model.scores(near, k).argmax(1) == known.y[judged]) for k in path]
        return max(zip(right, path, strict=True))[1]
