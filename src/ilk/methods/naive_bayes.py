"""Gaussian naive Bayes whose features have one variance for all classes: linear in the features.

Chenyu Zheng, Guoqiang Wu, Fan Bao, Yue Cao, Chongxuan Li, Jun Zhu, 2023, Revisiting Discriminative
vs. Generative Classifiers: Theory and Implications, arXiv 2302.02334.

    s_j^2 = sum_k prior_k s_kj^2,   s_kj^2 = biased variance of feature j within class k + 1e-9
    log p(k | x) = log prior_k - 1/2 sum_j (x_j - mean_kj)^2 / s_j^2 + constant
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ilk.data import Data
from ilk.maths.gaussian import class_statistics, log_prior
from ilk.models import Facts, Linear, learnable

ADDED = 1e-9  # the paper's; it leaves a feature that never varies all the say


@dataclass(frozen=True)
class NaiveBayes(Facts):
    """Naive Bayes with shared variances.

    Attributes:
        floor: Least variance of a feature, as a share of the mean one, >= 0. It keeps a feature
            that was dead in training from outvoting all others when it stirs; 0.0 is the paper's
            estimate, which for any feature above the floor is what this gives too.
    """

    board = True

    floor: float = 1e-3

    def __post_init__(self) -> None:
        if not 0 <= self.floor < np.inf:
            raise ValueError(f"floor is {self.floor}; it must be at least 0 and finite")

    def fit(self, data: Data) -> Linear:
        known = learnable(data, self)
        stats = class_statistics(known.x, known.y, data.k, diagonal=True)
        pooled = stats.scatter / stats.n
        if not pooled.any():  # one row a class: only the distance between classes tells a scale
            pooled = np.var(known.x, axis=0, dtype=np.float64)
        variance = np.maximum(pooled + ADDED, self.floor * pooled.mean())
        off = np.where(stats.seen[:, None], stats.means - stats.centre, 0.0)
        bias = log_prior(stats) - 0.5 * np.sum(off**2 / variance, axis=1)
        return Linear.about(stats.centre, off / variance, bias)
