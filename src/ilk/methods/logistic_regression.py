"""Logistic regression over all classes at once, its strength chosen on held-out folds.

David R. Cox, 1958, The Regression Analysis of Binary Sequences,
doi:10.1111/j.2517-6161.1958.tb00292.x.

    minimise  sum_i -log softmax(W x_i + b)[y_i] + |W|^2 / (2 C)

In the principal axes of x the Hessian is close to `p_c (1 - p_c) s_j + 1 / C` for class c and axis
j with sum of squares s_j, the diagonal from which L-BFGS starts (`ilk.maths.softmax`). The path of
strengths runs from strong to weak, each solution starting at the one before, until the held-out log
loss has clearly turned; the strength is the vertex of the parabola through the lowest point and its
neighbours (`ilk.maths.regression`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ilk.data import Data
from ilk.maths.regression import regression
from ilk.models import Facts, Linear, learnable


@dataclass(frozen=True)
class LogisticRegression(Facts):
    """Softmax regression with an L2 penalty on the weights; the intercepts go free.

    Two classes have a weight each, so `C` there is half of scikit-learn's for the same model.

    Attributes:
        C: Inverse strength of the penalty, > 0. None takes the best held-out log loss between
            1e-4 and 1e4 over the mean variance of a feature.
        folds: Parts of the training rows that choose `C`, >= 2.
        seed: Draws the folds.
    """

    board = True

    C: float | None = None
    folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.C is not None and not 0 < self.C < np.inf:
            raise ValueError(f"C is {self.C}; it must be above 0 and finite, or None to choose it")
        if self.folds < 2:
            raise ValueError(f"folds is {self.folds}; at least 2 are needed")

    def fit(self, data: Data) -> Linear:
        known = learnable(data, self)
        found = regression(known.x, known.y, data.k, self.C, self.folds, self.seed)
        return Linear.about(found.centre, found.weight, found.bias)
