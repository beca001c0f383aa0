"""Gaussian discriminant analysis that goes on learning: parts in any order give the whole's model.

Tyler L. Hayes, Christopher Kanan, 2020, Lifelong Machine Learning with Deep Streaming Linear
Discriminant Analysis, arXiv 1909.01520; the merging of parts: Chan, Golub, LeVeque, 1979.

Counts, class means and the within-class scatter are kept. Two parts a and b of one class add

    n = n_a + n_b,  mean = mean_a + (mean_b - mean_a) n_b / n,
    scatter = scatter_a + scatter_b + (mean_a - mean_b)(mean_a - mean_b)' n_a n_b / n

All in float64, the rule too, so that what parts in another order differ by is its rounding alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.data import Data, Features, Labels, Logits
from ilk.maths.gaussian import (
    Shrink,
    Statistics,
    checked,
    covariance,
    discriminant,
    log_prior,
    merge,
)
from ilk.models import Facts, learnable

CHUNK = 4096


@dataclass(frozen=True, eq=False)
class StreamingGaussian:
    """The rule as of now, `[k, d]` and `[k]`, and the statistics behind it, all float64."""

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    counts: Labels
    means: NDArray[np.float64]
    scatter: NDArray[np.float64]

    def logits(self, x: Features) -> Logits:
        """Scores `[n, k]`, float64."""
        return np.asarray(x, np.float64) @ self.weight.T + self.bias


@dataclass(frozen=True)
class StreamingGDA(Facts):
    """`GDA` with an `update`.

    Attributes:
        shrink: As in `GDA`: a share in [0, 1], "oas" or "ks"; None is "ks".
        uniform: Take all classes seen so far as equally likely.
    """

    shrink: Shrink = None
    uniform: bool = False

    def __post_init__(self) -> None:
        checked(self.shrink)

    def fit(self, data: Data) -> StreamingGaussian:
        known = learnable(data, self)
        return self._model(_statistics(known.x, known.y, data.k))

    def update(self, model: StreamingGaussian, data: Data) -> StreamingGaussian:
        """The model of what `model` has learnt and the labelled rows of `data`, if there are any.

        Raises:
            ValueError: The two do not have the same number of classes.
        """
        if data.k != len(model.counts):
            raise ValueError(f"the model knows {len(model.counts)} classes, the data {data.k}")
        known = data.labelled()
        if not len(known):
            return model
        before = Statistics(model.counts, model.means, model.scatter)
        return self._model(merge(before, _statistics(known.x, known.y, data.k)))

    def _model(self, stats: Statistics) -> StreamingGaussian:
        prior = log_prior(stats, self.uniform)
        rule = discriminant(stats, covariance(stats, self.shrink), prior)
        seen = stats.seen
        apart = np.where(seen[:, None], rule[0] - rule[0][seen].mean(0), 0.0)
        bias = rule[1] - apart @ stats.centre
        return StreamingGaussian(apart, bias, stats.counts, stats.means, stats.scatter)


def _statistics(x: Features, y: Labels, k: int) -> Statistics:
    """Counts, means and within-class scatter of rows, added up in float64 throughout."""
    counts = np.bincount(y, minlength=k).astype(np.int64)
    means, scatter = np.zeros((k, x.shape[1])), np.zeros((x.shape[1], x.shape[1]))
    for c in np.flatnonzero(counts):
        means[c] = x[y == c].mean(0, dtype=np.float64)
    for at in range(0, len(x), CHUNK):
        z = x[at : at + CHUNK].astype(np.float64) - means[y[at : at + CHUNK]]
        scatter += z.T @ z
    return Statistics(counts, means, scatter)
