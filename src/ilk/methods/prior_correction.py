"""Logistic regression with the training shares of the classes taken off its logits.

Aditya Krishna Menon, Sadeep Jayasumana, Ankit Singh Rawat, Himanshu Jain, Andreas Veit, Sanjiv
Kumar, 2021, Long-tail learning via logit adjustment, arXiv 2007.07314, equation 9 (post hoc); the
rule for new priors is that of Saerens, Latinne and Decaestecker, 2002.

    score_c(x) = w_c' x + b_c - tau log(n_c / n)

With tau = 1 the scores are those of Bayes' rule where all classes are equally likely, which is what
accuracy averaged over classes asks for; tau = 0 is plain logistic regression. The paper trains a
network and tunes tau; here the regression is convex, its strength comes from held-out folds, and
tau stays at the value that the rule gives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ilk.data import Data
from ilk.maths.regression import log_shares, regression
from ilk.models import Facts, Linear, learnable


@dataclass(frozen=True)
class PriorCorrection(Facts):
    """Softmax regression with an L2 penalty, judged as if classes were equally likely.

    Attributes:
        tau: How much of the log share of a class is taken off its logit, finite; 1 is Bayes' rule
            for equal shares.
        C: Inverse strength of the penalty, > 0. None takes the best held-out log loss between
            1e-4 and 1e4 over the mean variance of a feature.
        folds: Parts of the training rows that choose `C`, >= 2.
        seed: Draws the folds.
    """

    tau: float = 1.0
    C: float | None = None
    folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if not np.isfinite(self.tau):
            raise ValueError(f"tau is {self.tau}; it must be finite, and 1 for equal shares")
        if self.C is not None and not 0 < self.C < np.inf:
            raise ValueError(f"C is {self.C}; it must be above 0 and finite, or None to choose it")
        if self.folds < 2:
            raise ValueError(f"folds is {self.folds}; at least 2 are needed")

    def fit(self, data: Data) -> Linear:
        known = learnable(data, self)
        made = regression(known.x, known.y, data.k, self.C, self.folds, self.seed)
        bias = made.bias - self.tau * log_shares(known.y, data.k)
        return Linear.about(made.centre, made.weight, bias)
