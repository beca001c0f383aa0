"""Gaussian naive Bayes with variances shared by all classes, a linear classifier.

Chenyu Zheng, Guoqiang Wu, Fan Bao, Yue Cao, Chongxuan Li, Jun Zhu, 2023, Revisiting Discriminative
vs. Generative Classifiers: Theory and Implications, arXiv 2302.02334.

    s_j^2 = sum_k prior_k s_kj^2,   s_kj^2 = biased variance of feature j within class k + 1e-9
    log p(k | x) = log prior_k - 1/2 sum_j (x_j - mean_kj)^2 / s_j^2 + constant
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.core.contracts import MethodTags, labelled_features
from ilk.core.data import Data
from ilk.core.linear_models import Linear
from ilk.core.row_stream import RowStream
from ilk.core.statistics import Statistics
from ilk.maths.gaussian import compute_log_prior, compute_statistics
from ilk.maths.pca import weighted_variance

VARIANCE_EPSILON = 1e-9  # the paper's; a constant feature then dominates the scores


@dataclass(frozen=True)
class NaiveBayes(MethodTags):
    """Gaussian naive Bayes with shared variances.

    Attributes:
        variance_floor: Lower bound on the variance of a feature, as a fraction of the mean
            variance, >= 0. It keeps a feature that is constant in training from dominating when it
            varies in testing; 0.0 is the paper's estimate, which features above the floor have
            anyway.
    """

    default_candidate = True
    fit_cost = 0.02
    one_vs_rest = True
    supports_weights = True

    variance_floor: float = 1e-3

    def __post_init__(self) -> None:
        if not 0 <= self.variance_floor < np.inf:
            raise ValueError(
                f"variance_floor is {self.variance_floor}; it must be at least 0 and finite"
            )

    def fit(self, data: Data) -> Linear:
        labelled = labelled_features(data, self)
        stats = compute_statistics(
            labelled.x, labelled.y, data.k, weight=labelled.sample_weight, diagonal=True
        )
        pooled_variance = stats.scatter / stats.n
        if not pooled_variance.any():  # one row per class: only distances between classes remain
            pooled_variance = weighted_variance(labelled.x, labelled.sample_weight)
        return self._make_model(stats, pooled_variance)

    def fit_stream(self, rows: RowStream) -> Linear:
        """Return the classifier of rows that are read block by block, from their statistics."""
        stats = rows.statistics
        pooled_variance = np.maximum(np.diagonal(stats.scatter), 0.0) / stats.n
        if not pooled_variance.any():
            pooled_variance = stats.counts @ (stats.means - stats.centre) ** 2 / stats.n
        return self._make_model(stats, pooled_variance)

    def _make_model(self, stats: Statistics, pooled_variance: NDArray[np.float64]) -> Linear:
        """Return the classifier with a variance per feature, `[d]`, before the floor."""
        variance = np.maximum(
            pooled_variance + VARIANCE_EPSILON, self.variance_floor * pooled_variance.mean()
        )
        centred_means = np.where(stats.present[:, None], stats.means - stats.centre, 0.0)
        bias = compute_log_prior(stats) - 0.5 * np.sum(centred_means**2 / variance, axis=1)
        return Linear.from_centred(stats.centre, centred_means / variance, bias)
