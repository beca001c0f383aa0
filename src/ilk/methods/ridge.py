"""Ridge regression of one-hot labels with the penalty chosen by exact leave-one-out.

Arthur E. Hoerl, Robert W. Kennard, 1970, Ridge Regression: Biased Estimation for Nonorthogonal
Problems, doi:10.1080/00401706.1970.10488634; leave-one-out in closed form: David M. Allen, 1974,
The Relationship between Variable Selection and Data Augmentation and a Method for Prediction,
doi:10.1080/00401706.1974.10489157.

    W = Y'X (X'X + alpha I)^-1 on centred X and one-hot Y
    leave-one-out residual of row i: (y_i - f(x_i)) / (1 - h_i)
    h_i = 1 / n + x_i' (X'X + alpha I)^-1 x_i

One eigendecomposition, of X'X or of XX', whichever is smaller, serves all penalties. Scores are
multiplied by the inverse temperature with the least leave-one-out log loss.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.core.contracts import MethodTags, labelled_features
from ilk.core.data import Data, one_hot
from ilk.core.linear_models import Linear
from ilk.maths.inverse_temperature import fit_inverse_temperature
from ilk.maths.label_rules import fit_label_ridge
from ilk.maths.leave_one_out import left_out_weight
from ilk.maths.pca import PrincipalAxes, fit_pca

ALPHAS = np.logspace(-6, 3, 19)  # multiples of the mean eigenvalue
CHUNK_SIZE = 4096
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Ridge(MethodTags):
    """Ridge regression of one-hot labels.

    Attributes:
        alpha: The penalty, > 0, as in scikit-learn. None takes the least squared leave-one-out
            error among 19 penalties.
    """

    default_candidate = True
    one_vs_rest = True
    supports_weights = True

    alpha: float | None = None

    def __post_init__(self) -> None:
        if self.alpha is not None and not 0 < self.alpha < np.inf:
            raise ValueError(f"alpha is {self.alpha}; it must be above 0, or None to choose it")

    def fit(self, data: Data) -> Linear:
        labelled = labelled_features(data, self)
        problem = _Problem.from_data(labelled)
        mean_square = float(problem.pca.eigenvalues.mean()) if problem.pca.scores.size else 1.0
        alpha = mean_square if self.alpha is None else self.alpha
        if self.alpha is None and len(problem.validation_rows):
            alphas = mean_square * ALPHAS
            alpha = alphas[np.argmin([problem.compute_error(a) for a in alphas])]
        present, inverse_temperature = problem.prior > 0, 1.0
        if len(rows := problem.validation_rows) and present.sum() > 1:
            targets = problem.targets[rows]
            predictions = targets - problem.compute_residuals(alpha, rows)
            inverse_temperature = fit_inverse_temperature(
                predictions[:, present],
                targets[:, present].argmax(1),
                weight=None if labelled.sample_weight is None else labelled.weight[rows],
            )
        pca = problem.pca
        weight = inverse_temperature * (problem.moment.T / (pca.eigenvalues + alpha)) @ pca.basis.T
        bias = np.where(present, inverse_temperature * problem.prior, -np.inf)
        return Linear.from_centred(pca.centre, weight, bias)

    def fit_labels(self, data: Data, targets: NDArray[np.bool_]) -> tuple[Linear, ...]:
        """Return the regression of each label against the rest; `targets` are `[n, k]`.

        The scores have no inverse temperature: they are 1 for the label and -1 for the rest.
        """
        alphas = ALPHAS if self.alpha is None else float(self.alpha)
        return fit_label_ridge(data.x, targets, alphas).to_models()


@dataclass(frozen=True, eq=False)
class _Problem:
    """Labelled rows in principal axes.

    Attributes:
        pca: Axes and scores of the rows.
        targets: One-hot labels, `[n, k]`.
        prior: (Weighted) class frequencies, `[k]`.
        moment: `scores' (targets - prior)`, weighted, `[r, k]`.
        weight: How many times each row counts, `[n]`.
        left_out: Weight removed when a row is left out, `[n]`.
        validation_rows: Rows whose class has other rows, `[m]`.
    """

    pca: PrincipalAxes
    targets: Matrix
    prior: Matrix
    moment: Matrix
    weight: Matrix
    left_out: Matrix
    validation_rows: NDArray[np.int64]

    @classmethod
    def from_data(cls, labelled: Data) -> _Problem:
        weight = labelled.sample_weight
        pca = fit_pca(labelled.x, weight=weight)
        targets = one_hot(labelled.y, labelled.k)
        counts = labelled.sum_label_weights()
        prior = counts / labelled.weight.sum()
        residual = targets - prior
        moment = pca.scores.T @ (residual if weight is None else residual * weight[:, None])
        left_out = left_out_weight(weight, len(labelled))
        rows = np.flatnonzero(counts[labelled.y] > left_out + 1e-9)
        return cls(pca, targets, prior, moment, labelled.weight, left_out, rows)

    def compute_error(self, alpha: float) -> float:
        """Return the summed squared leave-one-out error of a penalty."""
        rows = self.validation_rows
        parts = [rows[at : at + CHUNK_SIZE] for at in range(0, len(rows), CHUNK_SIZE)]
        errors = (
            np.sum(self.weight[part, None] * self.compute_residuals(alpha, part) ** 2)
            for part in parts
        )
        return float(sum(errors))

    def compute_residuals(self, alpha: float, rows: NDArray[np.int64]) -> Matrix:
        """Return the leave-one-out residuals of `rows`, `[len(rows), k]`."""
        z, shrunk = self.pca.scores[rows], self.pca.eigenvalues + alpha
        residual = self.targets[rows] - self.prior - z @ (self.moment / shrunk[:, None])
        leverage = self.left_out[rows] * (1 / self.weight.sum() + (z * z) @ (1 / shrunk))
        return np.asarray(residual / np.maximum(1 - leverage, 1e-12)[:, None])
