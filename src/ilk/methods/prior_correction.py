"""Logistic regression with post-hoc logit adjustment for the training class priors.

Aditya Krishna Menon, Sadeep Jayasumana, Ankit Singh Rawat, Himanshu Jain, Andreas Veit, Sanjiv
Kumar, 2021, Long-tail learning via logit adjustment, arXiv 2007.07314, equation 9 (post hoc); the
rule for new priors is that of Saerens, Latinne and Decaestecker, 2002.

    score_c(x) = w_c' x + b_c - tau log(n_c / n)

With tau = 1 the scores follow Bayes' rule under equal class priors, which maximizes balanced
accuracy; tau = 0 is plain logistic regression. Departures: the paper trains a network and tunes
tau; here the regression is convex, its penalty is chosen by cross-validation, and tau is 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ilk.core.contracts import MethodTags, labelled_features
from ilk.core.data import Data
from ilk.core.linear_models import Linear
from ilk.maths.logistic_regression import (
    check_regression,
    compute_label_log_prior,
    fit_regression,
)


@dataclass(frozen=True)
class PriorCorrection(MethodTags):
    """L2-penalized softmax regression, adjusted to equal class priors.

    Attributes:
        tau: Multiple of the log class prior that is subtracted from the logit, finite; 1 is Bayes'
            rule under equal priors.
        C: Inverse of the penalty, > 0. None takes the best held-out log loss between 1e-4 and 1e4
            over the mean variance of a feature.
        folds: Cross-validation folds that choose `C`, >= 2.
        seed: Seed of the folds.
    """

    supports_weights = True
    fit_cost = 1.0

    tau: float = 1.0
    C: float | None = None
    folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if not np.isfinite(self.tau):
            raise ValueError(f"tau is {self.tau}; it must be finite, and 1 for equal priors")
        check_regression(self.C, self.folds)

    def fit(self, data: Data) -> Linear:
        labelled = labelled_features(data, self)
        result = fit_regression(labelled, self.C, self.folds, self.seed)
        bias = result.bias - self.tau * compute_label_log_prior(labelled)
        return Linear.from_centred(result.centre, result.weight, bias)
