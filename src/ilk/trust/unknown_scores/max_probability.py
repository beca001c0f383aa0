"""One minus the greatest class probability of Gaussian discriminant analysis, in logarithms.

Dan Hendrycks, Kevin Gimpel, 2017, A Baseline for Detecting Misclassified and Out-of-Distribution
Examples in Neural Networks, arXiv 1610.02136.

    score(x) = -max_c log p(c | x)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ilk.core.data import Features
from ilk.trust.known_rows import KnownRows, Matrix, Scorer, SharedGaussians, UnknownScore


@dataclass(frozen=True)
class MaxProbability(UnknownScore):
    """Minus the log of the greatest class probability."""

    label = "maximum probability"

    def fit(self, known: KnownRows) -> Scorer:
        gaussians = SharedGaussians.from_statistics(known.statistics, None, known.n_features)

        def score(x: Features) -> Matrix:
            logits = gaussians.compute_logits(x)
            return np.asarray(np.logaddexp.reduce(logits, axis=1) - logits.max(1))

        return score
