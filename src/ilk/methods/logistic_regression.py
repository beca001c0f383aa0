"""Multinomial logistic regression with the penalty chosen by cross-validation.

David R. Cox, 1958, The Regression Analysis of Binary Sequences,
doi:10.1111/j.2517-6161.1958.tb00292.x.

    minimise  sum_i -log softmax(W x_i + b)[y_i] + |W|^2 / (2 C)

In the principal axes of x the Hessian is close to `p_c (1 - p_c) s_j + 1 / C` for class c and axis
j with sum of squares s_j, the diagonal from which L-BFGS starts (`ilk.maths.softmax_regression`).
The path runs from strong to weak penalties, each solution starting at the previous one, until the
held-out log loss has clearly turned; C is the vertex of the parabola through the best point and its
neighbours (`ilk.maths.logistic_regression`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.core.contracts import MethodTags, labelled_features
from ilk.core.data import Data
from ilk.core.linear_models import Linear
from ilk.core.row_stream import RowStream
from ilk.maths.label_regressions import fit_label_regressions
from ilk.maths.logistic_regression import check_regression, fit_regression
from ilk.maths.streamed_regression import fit_streamed_regression


@dataclass(frozen=True)
class LogisticRegression(MethodTags):
    """Softmax regression with an L2 penalty on the weights but not on the intercepts.

    Two classes have one weight vector each, so `C` is half of scikit-learn's for the same model.

    Attributes:
        C: Inverse of the penalty, > 0. None takes the best held-out log loss between 1e-4 and 1e4
            over the mean variance of a feature.
        folds: Cross-validation folds that choose `C`, >= 2.
        seed: Seed of the folds.
    """

    default_candidate = True
    fit_cost = 1.0
    one_vs_rest = True
    supports_weights = True

    C: float | None = None
    folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        check_regression(self.C, self.folds)

    def fit(self, data: Data) -> Linear:
        labelled = labelled_features(data, self)
        result = fit_regression(labelled, self.C, self.folds, self.seed)
        return Linear.from_centred(result.centre, result.weight, result.bias)

    def fit_stream(self, rows: RowStream) -> Linear:
        """Return the regression of rows that are read block by block, in several passes.

        `C` is chosen on a sample of the rows; how far the rest may be from its minimum is noted.
        """
        fitted = fit_streamed_regression(rows, self.C, self.folds, self.seed)
        rows.note(f"logistic regression was {fitted}")
        result = fitted.result
        return Linear.from_centred(result.centre, result.weight, result.bias)

    def fit_labels(self, data: Data, targets: NDArray[np.bool_]) -> tuple[Linear, ...]:
        """Return the regression of each label against the rest; `targets` are `[n, k]`."""
        return fit_label_regressions(data, targets, self.C, self.folds, self.seed).to_models()
