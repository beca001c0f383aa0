"""Gaussian discriminant analysis: a Gaussian a class around its mean, all with one covariance.

Ronald A. Fisher, 1936, The Use of Multiple Measurements in Taxonomic Problems,
doi:10.1111/j.1469-1809.1936.tb02137.x; on frozen features: Wang et al., 2024, A Hard-to-Beat
Baseline for Training-free CLIP-based Adaptation, arXiv 2402.04087.

    log p(c | x) = mean_c' P x - mean_c' P mean_c / 2 + log prior_c + constant

with P the inverse of the pooled covariance after shrinkage towards a sphere of the same trace.
"""

from __future__ import annotations

from dataclasses import dataclass

from ilk.data import Data
from ilk.gaussian import Shrink, checked, class_statistics, covariance, discriminant, log_prior
from ilk.models import Facts, Linear, learnable


@dataclass(frozen=True)
class GDA(Facts):
    """Shared-covariance Gaussian discriminant analysis in closed form.

    Attributes:
        shrink: Share of the covariance that becomes a sphere, in [0, 1]; "oas" for oracle
            approximating shrinkage, "ks" for the ridge of Kubokawa and Srivastava. None is "oas".
        uniform: Take all classes as equally likely, whatever their counts.
    """

    board = True

    shrink: Shrink = None
    uniform: bool = False

    def __post_init__(self) -> None:
        checked(self.shrink)

    def fit(self, data: Data) -> Linear:
        known = learnable(data, self)
        stats = class_statistics(known.x, known.y, data.k)
        prior = log_prior(stats, self.uniform)
        weight, bias = discriminant(stats, covariance(stats, self.shrink), prior)
        return Linear.about(stats.centre, weight, bias)
