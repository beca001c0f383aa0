"""Gaussian discriminant analysis: a Gaussian a class around its mean, all with one covariance.

Ronald A. Fisher, 1936, The Use of Multiple Measurements in Taxonomic Problems,
doi:10.1111/j.1469-1809.1936.tb02137.x; on frozen features: Wang et al., 2024, A Hard-to-Beat
Baseline for Training-free CLIP-based Adaptation, arXiv 2402.04087.

    log p(c | x) = mean_c' P x - mean_c' P mean_c / 2 + log prior_c + constant

with P the inverse of the pooled covariance S after shrinkage towards a sphere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ilk.data import Data
from ilk.maths.axes import span
from ilk.maths.gaussian import (
    Shrink,
    checked,
    class_statistics,
    covariance,
    discriminant,
    log_prior,
)
from ilk.models import Facts, Linear, learnable


@dataclass(frozen=True)
class GDA(Facts):
    """Shared-covariance Gaussian discriminant analysis in closed form.

    Attributes:
        shrink: Share of the covariance that becomes a sphere, in [0, 1]; "ks" for the empirical
            Bayes ridge `S + tr(S) I / (N - 1)` of Kubokawa and Srivastava, which None takes, for
            `ilk bench gda_clip` finds no closed rule better; "oas" for oracle approximating
            shrinkage.
        uniform: Take all classes as equally likely, whatever their counts.
    """

    board = True

    shrink: Shrink = None
    uniform: bool = False

    def __post_init__(self) -> None:
        checked(self.shrink)

    def fit(self, data: Data) -> Linear:
        known = learnable(data, self)
        x, width = known.x, known.x.shape[1]
        if few := len(x) < width:  # then all happens in the span of the rows
            centre = x.mean(0, dtype=np.float64)
            basis = span(x - centre)
            x = (x - centre) @ basis
        stats = class_statistics(x, known.y, data.k)
        prior = log_prior(stats, self.uniform)
        weight, bias = discriminant(stats, covariance(stats, self.shrink, width), prior)
        if few:
            return Linear.about(centre + basis @ stats.centre, weight @ basis.T, bias)
        return Linear.about(stats.centre, weight, bias)
