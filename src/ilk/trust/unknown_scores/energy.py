"""Free energy of the logits of Gaussian discriminant analysis.

Weitang Liu, Xiaoyun Wang, John D. Owens, Yixuan Li, 2020, Energy-based Out-of-distribution
Detection, arXiv 2010.03759, equation 4, at temperature 1:

    score(x) = -log sum_c exp(logit_c(x))

The logits are those of `ilk.methods.gda`, linear in x: log prior plus log density of each class,
over the density of one Gaussian with the same covariance at the mean of all rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ilk.core.data import Features
from ilk.trust.known_rows import KnownRows, Matrix, Scorer, SharedGaussians, UnknownScore


@dataclass(frozen=True)
class Energy(UnknownScore):
    """Minus the log of the summed exponentials of the class logits."""

    label = "energy"

    def fit(self, known: KnownRows) -> Scorer:
        gaussians = SharedGaussians.from_statistics(known.statistics, None, known.n_features)

        def score(x: Features) -> Matrix:
            return np.asarray(-np.logaddexp.reduce(gaussians.compute_logits(x), axis=1))

        return score
