"""L2-penalized logistic regressions of many labels of the same rows, in one matrix product.

    minimise  sum_i log(1 + exp(-t_ic (w_c x_i + b_c))) + penalty_c |w_c|^2 / 4,  t_ic = 1 or -1

which for one label is the softmax regression of `ilk.maths.logistic_regression` with two classes.
Each label has a penalty of its own, chosen along the same path on folds that balance the labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Data
from ilk.maths.iterative_stratification import Targets, iterative_stratification
from ilk.maths.label_rules import BinaryRules
from ilk.maths.lbfgs import minimize_lbfgs
from ilk.maths.logistic_regression import (
    FINAL_TOLERANCE,
    PATH_TOLERANCE,
    PENALTY_PATH,
    STOP_RATIO,
)
from ilk.maths.pca import fit_pca

CHUNK_SIZE = 8192  # rows at a time

Matrix = NDArray[np.float64]


def fit_label_regressions(
    data: Data, targets: Targets, C: float | None = None, n_folds: int = 5, seed: int = 0
) -> BinaryRules:
    """Fit a logistic regression per label.

    Args:
        data: Features of n rows and their groups, which stay together in the folds.
        targets: Whether each label applies, `[n, k]`; both values occur for every label.
        C: Inverse of the penalty; None takes the best held-out log loss of each label.
        n_folds: Folds that choose `C`.
        seed: Seed of the folds.
    """
    pca = fit_pca(data.x, np.float32)
    scale = float(np.sqrt(pca.eigenvalues.sum() / data.x.size)) or 1.0
    ones = np.ones((len(data), 1), np.float32)
    scores = np.hstack([pca.scores / np.float32(scale), ones])
    everything = np.ones((1, len(data)), bool)
    problem = LabelRegressions(scores, targets, everything)
    start = problem.init_parameters()
    if C is not None:
        penalty = np.full(targets.shape[1], 1 / (C * scale**2))
    else:
        fold = iterative_stratification(targets, n_folds, seed, data.group)
        train = fold != np.arange(fold.max() + 1)[:, None]
        start, penalty = _choose_penalties(LabelRegressions(scores, targets, train))
    theta = problem.solve(start, penalty, FINAL_TOLERANCE)[0][0]
    return BinaryRules(pca.centre, theta[:, :-1] @ pca.basis.T / scale, theta[:, -1])


def _choose_penalties(problem: LabelRegressions) -> tuple[Matrix, Matrix]:
    """Return starting points `[1, k, r + 1]` and the best penalty of each label, `[k]`."""
    k = problem.targets.shape[1]
    thetas = problem.init_parameters()
    start, losses = thetas.copy(), np.full((len(PENALTY_PATH), k), np.inf)
    active = np.arange(k)
    for i, strength in enumerate(PENALTY_PATH):
        part = LabelRegressions(problem.scores, problem.targets[:, active], problem.train)
        solved, loss = part.solve(
            thetas[:, active], np.full(len(active), 1 / strength), PATH_TOLERANCE
        )
        thetas[:, active], losses[i, active] = solved, loss
        best = losses[:, active].min(0)
        is_best = loss <= best
        start[:, active[is_best]] = solved[:, is_best]
        active = active[loss <= STOP_RATIO * best]
        if not len(active):
            break
    return start.mean(0, keepdims=True), np.array([1 / _find_vertex(column) for column in losses.T])


def _find_vertex(losses: Matrix) -> float:
    """Return the strength at the vertex of the parabola through the best point of the path."""
    best = int(np.argmin(losses))
    strength = float(PENALTY_PATH[best])
    if 0 < best < len(losses) - 1 and np.isfinite(losses[best + 1]):
        near = slice(best - 1, best + 2)
        quadratic, slope, _ = np.polyfit(np.log(PENALTY_PATH[near] / strength), losses[near], 2)
        strength *= float(np.exp(-slope / (2 * quadratic))) if quadratic > 0 else 1.0
    return strength


@dataclass(frozen=True, eq=False)
class LabelRegressions:
    """Several fits to subsets of the same rows, for every label.

    Attributes:
        scores: Rows in principal axes with a last column of ones, `[n, r + 1]` float32.
        targets: Whether each label applies, `[n, k]`.
        train: Which rows each fit is trained on, `[fits, n]`.
    """

    scores: NDArray[np.float32]
    targets: Targets
    train: NDArray[np.bool_]

    def init_parameters(self) -> Matrix:
        """Return weights of 0 and log odds as intercepts, `[fits, k, r + 1]`."""
        thetas = np.zeros((len(self.train), self.targets.shape[1], self.scores.shape[1]))
        counts = self.train.astype(float) @ self.targets
        total = self.train.sum(1)[:, None]
        thetas[:, :, -1] = np.log((counts + 0.5) / (total - counts + 0.5))
        return thetas

    def solve(self, thetas: Matrix, penalty: Matrix, tolerance: float) -> tuple[Matrix, Matrix]:
        """Return the minima `[fits, k, r + 1]` and the mean log loss of held-out rows, `[k]`.

        Args:
            thetas: Starting points, `[fits, k, r + 1]`.
            penalty: L2 penalty of each label, `[k]`.
            tolerance: Relative decrease of the objective at which a fit stops.
        """
        n_fits, k, width = thetas.shape
        tasks = [(f, c) for f in range(n_fits) for c in range(k)]
        curvature = self._bound_curvature(thetas, penalty).reshape(-1, width)
        optimizers = [
            minimize_lbfgs(theta, diagonal, tolerance)
            for theta, diagonal in zip(thetas.reshape(-1, width), curvature, strict=True)
        ]
        points = [next(optimizer) for optimizer in optimizers]
        held_out, active = np.zeros(len(tasks)), list(range(len(tasks)))
        while active:
            values = self._evaluate(
                np.stack([points[i] for i in active]), [tasks[i] for i in active], penalty
            )
            for i, value, gradient, loss in zip(list(active), *values, strict=True):
                held_out[i] = loss
                try:
                    points[i] = optimizers[i].send((float(value), gradient))
                except StopIteration as done:
                    points[i] = done.value
                    active.remove(i)
        n_held_out = max(1, int((~self.train).sum()))
        return np.stack(points).reshape(thetas.shape), held_out.reshape(n_fits, k).sum(
            0
        ) / n_held_out

    def _bound_curvature(self, thetas: Matrix, penalty: Matrix) -> Matrix:
        """Return the diagonal of the Hessian as if scores were independent of labels, > 0."""
        odds = np.exp(-np.abs(thetas[:, :, -1]))
        variance = odds / (1 + odds) ** 2 * self.train.sum(1)[:, None]
        mean_squares = np.einsum("ij,ij->j", self.scores, self.scores, dtype=np.float64)
        curvature = variance[:, :, None] * mean_squares / len(self.scores)
        curvature[:, :, :-1] += penalty[:, None] / 2
        return np.asarray(np.maximum(curvature, 1e-6 * curvature.max() + 1e-9))

    def _evaluate(
        self, thetas: Matrix, tasks: list[tuple[int, int]], penalty: Matrix
    ) -> tuple[Matrix, Matrix, Matrix]:
        """Return value `[m]`, gradient `[m, r + 1]` and summed held-out loss `[m]` of tasks."""
        fits, labels = np.array(tasks).T
        penalties = penalty[labels] / 2
        value = 0.5 * penalties * np.einsum("mr,mr->m", thetas[:, :-1], thetas[:, :-1])
        gradient, held_out = np.zeros((self.scores.shape[1], len(tasks))), np.zeros(len(tasks))
        for start in range(0, len(self.scores), CHUNK_SIZE):
            rows = slice(start, start + CHUNK_SIZE)
            z, t = self.scores[rows], self.targets[rows][:, labels].astype(np.float32)
            is_train = self.train[fits, rows].T
            u = z @ thetas.T.astype(np.float32)
            small = np.exp(-np.abs(u))
            loss = np.maximum(u, 0) + np.log1p(small) - t * u
            value += np.where(is_train, loss, 0).sum(0, dtype=np.float64)
            held_out += np.where(is_train, 0, loss).sum(0, dtype=np.float64)
            p = np.where(u >= 0, 1, small) / (1 + small)
            gradient += z.T @ np.where(is_train, p - t, 0)
        gradient[:-1] += penalties * thetas[:, :-1].T
        return value, gradient.T, held_out
