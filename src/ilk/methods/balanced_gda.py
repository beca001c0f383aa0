"""Gaussian discriminant analysis with a class-balanced covariance and equal class priors.

Jing-Hao Xue and Peter Hall, 2015, Why Does Rebalancing Class-Unbalanced Data Improve AUC for Linear
Discriminant Analysis?, doi:10.1109/TPAMI.2014.2359660, show why balancing two classes helps.

    S = mean over classes of S_c,   S_c = sum_{i in c} (x_i - mean_c)(x_i - mean_c)' / (n_c - 1)
    score_c(x) = mean_c' P x - mean_c' P mean_c / 2,   P = inverse of the shrunk S

Departures: the paper balances two classes by resampling rows; here rows are weighted instead, for
any number of classes. Classes with a single row are left out of the mean, and the shrinkage is that
of `GDA`, with the effective number of degrees of freedom of the weighted rows, `(sum w)^2 / sum
w^2` (Kish), which limits the influence of the few rows of a rare class.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ilk.core.contracts import MethodTags, labelled_features
from ilk.core.data import Data
from ilk.core.linear_models import Linear
from ilk.core.statistics import Statistics
from ilk.maths.covariance import Shrinkage, check_shrinkage, estimate_covariance
from ilk.maths.gaussian import RowSpan, compute_log_prior, compute_statistics, fit_discriminant


@dataclass(frozen=True)
class BalancedGDA(MethodTags):
    """Shared-covariance discriminant analysis with equal priors and a balanced covariance.

    Attributes:
        shrink: Shrinkage intensity in [0, 1], "oas", "ks", or None, which is "ks"; as in `GDA`.
        balance: Interpolates the weight of a row from 1 to 1 / (n_c - 1), in [0, 1]: 0 pools rows,
            1 pools classes.
    """

    supports_weights = True
    fit_cost = 0.5

    shrink: Shrinkage = None
    balance: float = 1.0

    def __post_init__(self) -> None:
        check_shrinkage(self.shrink)
        if not 0 <= self.balance <= 1:
            raise ValueError(f"balance is {self.balance}; it must be from 0 (rows) to 1 (classes)")

    def fit(self, data: Data) -> Linear:
        labelled = labelled_features(data, self)
        span = RowSpan.from_rows(labelled.x)
        rows = replace(labelled, x=span.x.astype(np.float32))
        stats = _compute_balanced_statistics(rows, self.balance)
        covariance = estimate_covariance(stats, self.shrink, labelled.x.shape[1])
        rule = fit_discriminant(stats, covariance, compute_log_prior(stats, uniform=True))
        return Linear.from_centred(*span.to_features(stats.centre, *rule))


def _compute_balanced_statistics(labelled: Data, balance: float) -> Statistics:
    """Return statistics in which rows of class c have weight `(n_c - 1)^-balance`.

    They are scaled to the effective number of rows. Where no class has two rows, return the
    statistics of the unweighted rows.
    """
    unbalanced = compute_statistics(
        labelled.x, labelled.y, labelled.k, weight=labelled.sample_weight
    )
    degrees = np.maximum(unbalanced.counts - 1, 0)
    if not degrees.any():
        return unbalanced
    class_weight = np.where(degrees > 0, np.where(degrees > 0, degrees, 1.0) ** -balance, 0.0)
    total = float((degrees * class_weight).sum())
    effective_rows = max(1, round(total**2 / float((degrees * class_weight**2).sum())))
    row_weight = class_weight[labelled.y]
    if labelled.sample_weight is not None:
        row_weight = row_weight * labelled.sample_weight
    residuals = labelled.x - unbalanced.means[labelled.y].astype(np.float32)
    weighted = residuals * np.sqrt(row_weight)[:, None]
    scatter = weighted.T.astype(np.float64) @ weighted * (effective_rows / total)
    counts = np.where(unbalanced.present, 1 + effective_rows / unbalanced.present.sum(), 0.0)
    return Statistics(counts, unbalanced.means, scatter)
