"""Nearest class mean, of rows that were centred and scaled to length 1.

Yan Wang, Wei-Lun Chao, Kilian Q. Weinberger, Laurens van der Maaten, 2019, SimpleShot: Revisiting
Nearest-Neighbor Classification for Few-Shot Learning, arXiv 1911.04623, equations 2 to 4.

    u = (x - centre) / |x - centre|,  score_c(x) = -t |u - mean_c(u)|^2 / 2

The sharpness t is no part of the paper and changes no answer: it is the one under which rows scored
without themselves are likeliest.

Classes that come later are averaged about the same centre, so that no old row is needed; `update`
then does not give what fitting all rows together would, whose centre would be another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.data import Data, Features, Labels, Logits
from ilk.errors import InputError
from ilk.maths.gaussian import class_means
from ilk.maths.sharpness import sharpness
from ilk.models import Facts, affine, learnable, unit_rows

LEAST = (
    0.1  # of the mean deviation, the least that a feature is divided by: dead ones must not shout
)


@dataclass(frozen=True, eq=False)
class UnitMeans:
    """`u @ weight.T + bias` with `u` the direction of `(x - centre) / scale`.

    Attributes:
        centre: `[d]` float32.
        scale: `[d]` float32, above 0.
        weight: `[k, d]` float32.
        bias: `[k]` float32, `-inf` for a class never seen.
        counts: Rows behind each mean, `[k]` int64; None in a model that cannot go on.
        sharp: The factor t in `weight`, which is t times the means.
    """

    centre: Features
    scale: Features
    weight: Features
    bias: Features
    counts: Labels | None = None
    sharp: float = 1.0

    def logits(self, x: Features) -> Logits:
        """Scores `[n, k]`, float64."""
        u = unit_rows((np.asarray(x, np.float64) - self.centre) / self.scale)
        return affine(u, self.weight, self.bias)


@dataclass(frozen=True)
class NearestClassMean(Facts):
    """Nearest class mean; nothing to choose.

    Attributes:
        scaled: Divide each feature by its standard deviation before rows get length 1; that cost
            few-shot accuracy on pixels and gained none on a network's features.
    """

    board = True

    scaled: bool = False

    def fit(self, data: Data) -> UnitMeans:
        known = learnable(data, self)
        centre = known.x.mean(0, dtype=np.float64).astype(np.float32)
        scale = np.ones(known.x.shape[1], np.float32)
        if self.scaled:
            deviation = known.x.std(0, dtype=np.float64)
            scale = np.maximum(deviation, LEAST * deviation.mean()).astype(np.float32)
            scale = np.where(scale > 0, scale, np.float32(1))
        u = unit_rows((known.x.astype(np.float64) - centre) / scale)
        counts = data.counts()
        means = class_means(u, known.y, counts)
        t = _sharpness(u, known.y, means, counts)
        return _model(centre, scale, means, counts, t)

    def update(self, model: UnitMeans, data: Data) -> UnitMeans:
        """The model with the labelled rows of `data`, about the centre of the rows it began with.

        Raises:
            ValueError: The two do not have the same number of classes.
            InputError: The model was stored by an ilk that did not count its rows.
        """
        if data.k != len(model.bias):
            raise ValueError(f"the model knows {len(model.bias)} classes, the data {data.k}")
        if model.counts is None:
            raise InputError("this model does not say how many rows it learnt from; fit it again")
        known = data.labelled()
        if not len(known):
            return model
        known = learnable(known, self)
        u = unit_rows((known.x.astype(np.float64) - model.centre) / model.scale)
        fresh = known.counts()
        counts = model.counts + fresh
        share = (fresh / np.maximum(1, counts))[:, None]
        before = model.weight / model.sharp
        means = (1 - share) * before + share * class_means(u, known.y, fresh)
        return _model(model.centre, model.scale, means, counts, model.sharp)


def _model(
    centre: Features, scale: Features, means: NDArray[np.float64], counts: Labels, t: float
) -> UnitMeans:
    bias = np.where(counts > 0, -0.5 * t * np.sum(means**2, axis=1), -np.inf)
    weight = (t * means).astype(np.float32)
    return UnitMeans(centre, scale, weight, bias.astype(np.float32), counts, t)


def _sharpness(
    u: NDArray[np.float64], y: Labels, means: NDArray[np.float64], counts: Labels
) -> float:
    """From every row whose class has another, scored with its own class mean made without it."""
    rows = np.flatnonzero(counts[y] > 1)
    if not len(rows) or np.sum(counts > 0) < 2:
        return 10.0
    u, y = u[rows], y[rows]
    n, at = counts[y, None], np.arange(len(rows))
    own = (n * means[y] - u) / (n - 1)
    scores = u @ means.T - 0.5 * np.sum(means**2, axis=1)
    scores[at, y] = np.sum(u * own, axis=1) - 0.5 * np.sum(own**2, axis=1)
    return sharpness(scores[:, counts > 0], np.searchsorted(np.flatnonzero(counts), y))
