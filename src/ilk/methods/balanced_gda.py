"""Gaussian discriminant analysis in which every class counts the same, in the covariance as well.

Jing-Hao Xue and Peter Hall, 2015, Why Does Rebalancing Class-Unbalanced Data Improve AUC for Linear
Discriminant Analysis?, doi:10.1109/TPAMI.2014.2359660, show why evening out two classes helps.

    S = mean over classes of S_c,   S_c = sum_{i in c} (x_i - mean_c)(x_i - mean_c)' / (n_c - 1)
    score_c(x) = mean_c' P x - mean_c' P mean_c / 2,   P = inverse of the shrunk S

Theirs evens out two classes by drawing rows; we weigh them instead, take any number of classes,
leave those of one row out of the mean, and shrink as `GDA` does, with as many degrees of freedom as
the weighted ones are worth, `(sum w)^2 / sum w^2` (Kish), so that a few rows of a rare class are
not trusted for more than they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ilk.data import Data
from ilk.maths.axes import span
from ilk.maths.gaussian import (
    Shrink,
    Statistics,
    checked,
    class_statistics,
    covariance,
    discriminant,
)
from ilk.maths.gaussian import log_prior as shares
from ilk.models import Facts, Linear, learnable


@dataclass(frozen=True)
class BalancedGDA(Facts):
    """Shared-covariance discriminant analysis under equal shares, its covariance a class mean.

    Attributes:
        shrink: Share of the covariance that becomes a sphere, in [0, 1], "oas", "ks", or None,
            which is "ks"; as in `GDA`.
        even: How far the weight of a row is taken from 1 to 1 / (n_c - 1), in [0, 1]: 0 pools rows
            as they come, 1 pools classes.
    """

    shrink: Shrink = None
    even: float = 1.0

    def __post_init__(self) -> None:
        checked(self.shrink)
        if not 0 <= self.even <= 1:
            raise ValueError(f"even is {self.even}; it must lie between 0 (rows) and 1 (classes)")

    def fit(self, data: Data) -> Linear:
        known = learnable(data, self)
        x, width = known.x, known.x.shape[1]
        if few := len(x) < width:  # then all happens in the span of the rows
            centre = x.mean(0, dtype=np.float64)
            basis = span(x - centre)
            x = ((x - centre) @ basis).astype(np.float32)
        stats = _weighted(replace(known, x=x), self.even)
        weight, bias = discriminant(
            stats, covariance(stats, self.shrink, width), shares(stats, uniform=True)
        )
        if few:
            return Linear.about(centre + basis @ stats.centre, weight @ basis.T, bias)
        return Linear.about(stats.centre, weight, bias)


def _weighted(known: Data, even: float) -> Statistics:
    """Statistics in which rows of class c weigh `(n_c - 1)^-even`, scaled to what they are worth.

    Where no class has two rows, those of the rows as they are.
    """
    plain = class_statistics(known.x, known.y, known.k)
    degrees = np.maximum(plain.counts - 1, 0)
    if not degrees.any():
        return plain
    each = np.where(degrees > 0, np.maximum(degrees, 1.0) ** -even, 0.0)
    worth = max(1, round(float((degrees * each).sum() ** 2 / (degrees * each**2).sum())))
    off = (known.x - plain.means[known.y].astype(np.float32)) * np.sqrt(each[known.y])[:, None]
    scatter = off.T.astype(np.float64) @ off * (worth / float((degrees * each).sum()))
    alike = np.where(plain.seen, 1 + worth / plain.seen.sum(), 0.0)
    return Statistics(alike, plain.means, scatter)
