"""What a classifier keeps of the images it learnt from, so that it can grow and follow: no image.

Counts, class means and the pooled scatter are all that Gaussians with one covariance need, and more
can be merged into them. Beside them stand the features of a bounded number of rows, with what was
said of them by models that had not seen them, to calibrate again after a change.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.data import Data, Features, Labels, Logits
from ilk.errors import InputError
from ilk.maths.gaussian import Statistics, class_statistics

ROWS = 2_000  # held-out rows that are kept: coverage is then known to 0.7 points
FLOATS = 2**21  # features of them: 8 MB
WIDEST = 4096  # features; the scatter of more would outgrow most encoders
Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Kept:
    """Statistics of all labelled rows, and held-out answers on `m` of them.

    Attributes:
        counts: Rows of each class, `[k]` int64.
        means: `[k, d]` float64; zeros for a class without a row. d is 0 where the features are too
            wide, or no more than one score a class: the classifier can follow then, but not grow.
        triangle: Within-class scatter, its lower triangle row by row, `[d (d + 1) / 2]` float64.
        x: Features of the rows held out, `[m, d]` float32, class after class.
        y: Their classes, `[m]` int64.
        logits: What models that had not learnt from them say, `[m, k]` float32.
        distance: Their unknown scores, likewise, `[m]` float64.
    """

    counts: Labels
    means: Matrix
    triangle: Matrix
    x: Features
    y: Labels
    logits: Features
    distance: Matrix

    def fits(self, x: Features) -> None:
        """Raise InputError for features `x` that are not of this encoder."""
        of_width(x, self.width)

    @property
    def width(self) -> int:
        """Number of features."""
        return int(self.means.shape[1])

    @property
    def statistics(self) -> Statistics:
        """Counts, means and the whole scatter."""
        scatter = np.zeros((self.width, self.width))
        scatter[np.tril_indices(self.width)] = self.triangle
        return Statistics(self.counts, self.means, scatter + np.tril(scatter, -1).T)

    @classmethod
    def of(cls, data: Data, logits: Matrix, tested: NDArray[np.bool_], distance: Matrix) -> Kept:
        """From labelled rows, their out-of-fold logits `[n, k]` where `tested`, and distances."""
        stats = class_statistics(data.x, data.y, data.k)
        order = drawn(data.y)
        order = order[(tested & np.isfinite(distance))[order]]
        at = order[first(data.y[order], stats.counts, stats.means.shape[1])]
        return cls.made(stats, data.x[at], data.y[at], logits[at], distance[at])

    @classmethod
    def made(cls, stats: Statistics, x: Features, y: Labels, logits: Logits, far: Matrix) -> Kept:
        """From statistics and rows that were chosen already."""
        triangle = stats.scatter[np.tril_indices(len(stats.scatter))]
        rows = np.asarray(x, np.float32), y, np.asarray(logits, np.float32), far
        return cls(stats.counts, stats.means, triangle, *rows)


def drawn(y: Labels) -> Labels:
    """Positions of all rows, class after class, in an order that hangs on the class alone."""
    found = [np.flatnonzero(y == c) for c in np.unique(y)]
    mixed = [np.random.default_rng(0).permutation(rows) for rows in found]
    return np.concatenate([np.zeros(0, np.int64), *mixed])


def of_width(x: Features, width: int) -> None:
    """Raise InputError where `x` is not `[n, width]`."""
    if np.ndim(x) != 2 or np.shape(x)[1] != width:
        raise InputError(
            f"these features have shape {np.shape(x)} and the classifier learnt from rows of "
            f"{width} numbers: they come from another encoder; encode the images with its own"
        )


def first(y: Labels, counts: Labels, width: int) -> Labels:
    """Positions of the first rows of each class, as many as its share of what may be kept.

    Fewer are taken when `counts` grow, always from the front: what is kept of a class does not
    hang on when the others came.
    """
    rate = min(1.0, min(ROWS, FLOATS // max(1, width)) / max(1, int(counts.sum())))
    most = np.ceil(rate * counts)
    order = np.argsort(y, kind="stable")
    rank = np.arange(len(y)) - np.searchsorted(y[order], y[order])
    return np.asarray(order[rank < most[y[order]]])
