"""Ridge regression of one-hot labels with the penalty chosen by exact leave-one-out.

Arthur E. Hoerl, Robert W. Kennard, 1970, Ridge Regression: Biased Estimation for Nonorthogonal
Problems, doi:10.1080/00401706.1970.10488634; leave-one-out in closed form: David M. Allen, 1974,
The Relationship between Variable Selection and Data Augmentation and a Method for Prediction,
doi:10.1080/00401706.1974.10489157.

    W = Y'X (X'X + alpha I)^-1 on centred X and one-hot Y
    leave-one-out residual of row i: (y_i - f(x_i)) / (1 - h_i)
    h_i = 1 / n + x_i' (X'X + alpha I)^-1 x_i

One eigendecomposition, of X'X or of XX', whichever is smaller, serves all penalties. Scores are
multiplied by the inverse temperature with the least leave-one-out log loss. Where rows belong to
groups, whole groups are left out (`ilk.maths.leave_group_out`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.contracts import MethodTags, labelled_features
from ilk.core.data import Data, one_hot
from ilk.core.linear_models import Linear
from ilk.core.row_stream import RowStream
from ilk.maths.folds import has_shared_groups, number_groups
from ilk.maths.inverse_temperature import fit_inverse_temperature, select_rows
from ilk.maths.label_rules import fit_label_ridge
from ilk.maths.leave_group_out import (
    find_groups,
    find_rows_with_other_groups,
    leave_group_out_residuals,
    list_members,
)
from ilk.maths.leave_one_out import find_rows_with_others, left_out_weight
from ilk.maths.pca import find_axes, fit_pca
from ilk.maths.streamed_ridge import StreamedRidge, choose_penalty

ALPHAS = np.logspace(-6, 3, 19)  # multiples of the mean eigenvalue
SEARCH_STEP = 3  # penalties between those that are tried first
CLOSE = 1.02  # errors up to this multiple of the least are searched around, and in float64
ROWS_PER_AXIS = 4  # from which on no leverage is near 1, and float32 is exact enough for a search
CHUNK_SIZE = 2048  # rows at a time
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Ridge(MethodTags):
    """Ridge regression of one-hot labels.

    Attributes:
        alpha: The penalty, > 0, as in scikit-learn. None takes the least squared leave-one-out
            error among 19 penalties.
    """

    default_candidate = True
    fit_cost = 0.2
    one_vs_rest = True
    supports_weights = True

    alpha: float | None = None

    def __post_init__(self) -> None:
        if self.alpha is not None and not 0 < self.alpha < np.inf:
            raise ValueError(f"alpha is {self.alpha}; it must be above 0, or None to choose it")

    def fit(self, data: Data) -> Linear:
        labelled = labelled_features(data, self)
        problem = _Problem.from_data(labelled)
        if (group := find_groups(labelled)) is not None:
            rows = find_rows_with_other_groups(labelled.y, group, labelled.sample_weight)
            problem = replace(problem, validation_rows=rows, members=tuple(list_members(group)))
        mean_square = float(problem.eigenvalues.mean()) if len(problem.eigenvalues) else 1.0
        alpha = mean_square if self.alpha is None else self.alpha
        if self.alpha is None and len(problem.validation_rows):
            alpha = problem.find_least_error(mean_square * ALPHAS)
        present, inverse_temperature = problem.prior > 0, 1.0
        rows = problem.validation_rows[select_rows(len(problem.validation_rows))]
        if len(rows) and present.sum() > 1:
            targets = one_hot(labelled.y[rows], labelled.k)
            predictions = targets - problem.compute_residuals(alpha, rows)
            inverse_temperature = fit_inverse_temperature(
                predictions[:, present],
                targets[:, present].argmax(1),
                weight=None if labelled.sample_weight is None else labelled.weight[rows],
            )
        weight = inverse_temperature * problem.compute_weight(alpha)
        bias = np.where(present, inverse_temperature * problem.prior, -np.inf)
        return Linear.from_centred(problem.centre, weight, bias)

    def fit_stream(self, rows: RowStream) -> Linear:
        """Return the regression of rows that are read block by block, from their statistics.

        The penalty has the least squared error over the parts of the rows, each left out as a
        whole, where `fit` leaves out one row at a time. The inverse temperature rests on the same
        left-out rows as in `fit`, which are held.
        """
        stats = rows.statistics
        problem = StreamedRidge.from_statistics(stats)
        alpha = problem.scale if self.alpha is None else self.alpha
        if self.alpha is None and (best := choose_penalty(stats, rows.parts, ALPHAS)) is not None:
            alpha = best * problem.scale
        group = number_groups(rows.group) if has_shared_groups(rows.group) else None
        scored = (
            find_rows_with_others(rows.y, stats.counts)
            if group is None
            else find_rows_with_other_groups(rows.y, group)
        )
        scored = scored[select_rows(len(scored))]
        present, inverse_temperature = problem.prior > 0, 1.0
        if len(scored) and present.sum() > 1:
            held = scored if group is None else np.flatnonzero(np.isin(group, group[scored]))
            own = None if group is None else np.unique(group[held], return_inverse=True)[1]
            residuals = problem.compute_residuals(alpha, rows.take(held), rows.y[held], own)
            targets = one_hot(rows.y[scored], len(present))
            predictions = targets - residuals[np.searchsorted(held, scored)]
            inverse_temperature = fit_inverse_temperature(
                predictions[:, present], targets[:, present].argmax(1)
            )
        weight = inverse_temperature * problem.compute_weight(alpha)
        bias = np.where(present, inverse_temperature * problem.prior, -np.inf)
        return Linear.from_centred(problem.centre, weight, bias)

    def fit_labels(self, data: Data, targets: NDArray[np.bool_]) -> tuple[Linear, ...]:
        """Return the regression of each label against the rest; `targets` are `[n, k]`.

        The scores have no inverse temperature: they are 1 for the label and -1 for the rest.
        """
        alphas = ALPHAS if self.alpha is None else float(self.alpha)
        return fit_label_ridge(data.x, targets, alphas, find_groups(data)).to_models()


@dataclass(frozen=True, eq=False)
class _Problem:
    """Labelled rows and their principal axes.

    Attributes:
        labelled: The rows.
        centre: Their (weighted) mean, `[d]`.
        basis: Principal axes, `[d, r]`.
        eigenvalues: (Weighted) sum of squares along each, `[r]`.
        prior: (Weighted) class frequencies, `[k]`.
        moment: `scores' (targets - prior)`, weighted, `[r, k]`.
        left_out: Weight removed when a row is left out, `[n]`.
        validation_rows: Rows whose class has other rows, `[m]`.
        scores: Rows in principal axes, `[n, r]`; None for more rows than features, whose scores are
            computed in blocks.
        members: Positions of the rows of each group, which is left out as a whole; empty where
            every row is one.
    """

    labelled: Data
    centre: Matrix
    basis: Matrix
    eigenvalues: Matrix
    prior: Matrix
    moment: Matrix
    left_out: Matrix
    validation_rows: NDArray[np.int64]
    scores: Matrix | None = None
    members: tuple[NDArray[np.int64], ...] = ()

    @classmethod
    def from_data(cls, labelled: Data) -> _Problem:
        weight = labelled.sample_weight
        scores: Matrix | None = None
        if len(labelled) > labelled.x.shape[1]:
            centre, basis, eigenvalues = find_axes(labelled.x, weight=weight)
        else:
            pca = fit_pca(labelled.x, weight=weight)
            centre, basis, eigenvalues = pca.centre, pca.basis, pca.eigenvalues
            scores = pca.scores
        counts = labelled.sum_label_weights()
        prior = counts / labelled.weight.sum()
        cross = np.zeros((labelled.x.shape[1], labelled.k))
        for at in range(0, len(labelled), CHUNK_SIZE):
            part = slice(at, at + CHUNK_SIZE)
            residual = (one_hot(labelled.y[part], labelled.k) - prior) * labelled.weight[part, None]
            cross += (labelled.x[part] - centre).T @ residual
        rows = find_rows_with_others(labelled.y, counts, weight)
        left_out = left_out_weight(weight, len(labelled))
        moment = basis.T @ cross
        return cls(labelled, centre, basis, eigenvalues, prior, moment, left_out, rows, scores)

    def compute_weight(self, alpha: float) -> Matrix:
        """Return the weights of a penalty, `[k, d]`."""
        return np.asarray((self.moment.T / (self.eigenvalues + alpha)) @ self.basis.T)

    def find_least_error(self, alphas: Matrix) -> float:
        """Return the penalty with the least squared leave-one-out error.

        Every third penalty is tried first, then those around the best and around any that is
        close to it (the error may have several minima), in float32 where rows are many. If more
        than one penalty is close to the best in the end, these are compared in float64.

        Args:
            alphas: Penalties, ascending.
        """
        has_many_rows = len(self.labelled) >= ROWS_PER_AXIS * len(self.eigenvalues)
        dtype = np.float32 if has_many_rows else np.float64
        errors = np.full(len(alphas), np.inf)
        tried = np.arange(0, len(alphas), SEARCH_STEP)
        errors[tried] = self.compute_errors(alphas[tried], dtype)
        close = np.flatnonzero(errors <= CLOSE * errors.min())
        distance = np.abs(np.arange(len(alphas))[:, None] - close).min(1)
        between = np.flatnonzero((distance < SEARCH_STEP) & np.isinf(errors))
        errors[between] = self.compute_errors(alphas[between], dtype)
        near = np.flatnonzero(errors <= CLOSE * errors.min())
        if len(near) > 1:
            near = near[[np.argmin(self.compute_errors(alphas[near]))]]
        return float(alphas[near[0]])

    def compute_errors(self, alphas: Matrix, dtype: Any = np.float64) -> Matrix:
        """Return the summed squared leave-one-out error of each penalty, `[a]`.

        Args:
            alphas: Penalties, `[a]`.
            dtype: Float type of the matrix products.
        """
        errors, rows = np.zeros(len(alphas)), self.validation_rows
        if self.members:
            is_validated = np.isin(np.arange(len(self.labelled)), rows)
            for one in self.members:
                squares = self._leave_group_out(alphas, one) ** 2
                errors += np.einsum(
                    "n,ank->a", self.labelled.weight[one] * is_validated[one], squares
                )
            return errors
        for at in range(0, len(rows), CHUNK_SIZE):
            part = rows[at : at + CHUNK_SIZE]
            squares = self._compute_residuals(alphas, part, dtype) ** 2
            errors += np.einsum("n,nak->a", self.labelled.weight[part], squares)
        return errors

    def compute_residuals(self, alpha: float, rows: NDArray[np.int64]) -> Matrix:
        """Return the leave-one-out residuals of `rows`, `[len(rows), k]`."""
        if self.members:
            out = np.zeros((len(self.labelled), len(self.prior)))
            for one in self.members:
                out[one] = self._leave_group_out(np.array([alpha]), one)[0]
            return out[rows]
        parts = [
            self._compute_residuals(np.array([alpha]), rows[at : at + CHUNK_SIZE], np.float64)[:, 0]
            for at in range(0, len(rows), CHUNK_SIZE)
        ]
        return np.concatenate(parts)

    def _leave_group_out(self, alphas: Matrix, rows: NDArray[np.int64]) -> Matrix:
        """Return the residuals `[a, n, k]` of all rows of a group, which is left out."""
        if self.scores is None:
            z = (self.labelled.x[rows] - self.centre).astype(np.float64) @ self.basis
        else:
            z = self.scores[rows]
        inverse = 1 / (self.eigenvalues + alphas[:, None])
        targets = one_hot(self.labelled.y[rows], len(self.prior)) - self.prior
        residual = targets - np.einsum("nr,ar,rk->ank", z, inverse, self.moment, optimize=True)
        weight = self.labelled.weight
        return leave_group_out_residuals(z, residual, inverse, weight.sum(), weight[rows])

    def _compute_residuals(self, alphas: Matrix, rows: NDArray[np.int64], dtype: Any) -> Any:
        """Return the leave-one-out residuals of rows under each penalty, `[n, a, k]`."""
        (r, k), shrunk = self.moment.shape, self.eigenvalues[:, None] + alphas
        if self.scores is None:
            z = (self.labelled.x[rows] - self.centre).astype(dtype) @ self.basis.astype(dtype)
        else:
            z = self.scores[rows].astype(dtype, copy=False)
        slopes = self.moment[:, None] / shrunk[:, :, None]
        slopes = slopes.reshape(r, len(alphas) * k).astype(dtype)
        targets = one_hot(self.labelled.y[rows], k) - self.prior
        residual = targets[:, None].astype(dtype) - (z @ slopes).reshape(-1, len(alphas), k)
        leverage = 1 / self.labelled.weight.sum() + (z * z) @ (1 / shrunk).astype(dtype)
        leverage = self.left_out[rows, None].astype(dtype) * leverage
        residual /= np.maximum(1 - leverage, 1e-12)[:, :, None]
        return residual
