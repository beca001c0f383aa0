"""L2-penalized softmax regression with the penalty chosen by cross-validation.

    minimise  sum_i w_i -log softmax(W (x_i - centre) + b)[y_i] + penalty |W|^2 / 2

The path runs from strong to weak penalties, each solution starting at the previous one and from the
curvature that the solver met on the way, until the held-out log loss has clearly turned; the
penalty is the vertex of the parabola through the best point and its neighbours (see
`ilk.maths.softmax_regression` for the solver).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Data, Labels
from ilk.maths import folds
from ilk.maths.pca import find_axes, fit_pca
from ilk.maths.softmax_regression import (
    CurvatureHistory,
    Parameters,
    Projection,
    SoftmaxRegressions,
)

PENALTY_PATH = 10.0 ** np.array(
    [-4, -3, -2, *np.arange(-1.5, 4.1, 0.5)]
)  # C times a feature's variance
MAX_SCORES = 2**24  # numbers: 64 MB
STOP_RATIO = 1.01  # a held-out loss above this multiple of the least ends the path
PATH_TOLERANCE, FINAL_TOLERANCE = 3e-3, 1e-8  # relative decrease at which the solver stops


@dataclass(frozen=True, eq=False)
class RegressionResult:
    """`(x - centre) @ weight.T + bias`; a class without rows has weight 0 and bias `-inf`.

    Attributes:
        centre: `[d]` float64.
        weight: `[k, d]` float64.
        bias: `[k]` float64.
        C: Inverse of the penalty, given or chosen.
    """

    centre: NDArray[np.float64]
    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    C: float


def check_regression(C: float | None, n_folds: int) -> None:
    """Check the hyperparameters of `fit_regression`.

    Raises:
        ValueError: If `C` is not positive and finite, or there are fewer than 2 folds.
    """
    if C is not None and not 0 < C < np.inf:
        raise ValueError(f"C is {C}; it must be above 0 and finite, or None to choose it")
    if n_folds < 2:
        raise ValueError(f"folds is {n_folds}; at least 2 are needed")


def fit_regression(
    data: Data, C: float | None = None, n_folds: int = 5, seed: int = 0
) -> RegressionResult:
    """Fit softmax regression to rows `[n, d]` that all have a label and a positive weight.

    Args:
        data: Features, labels, weights and groups; groups stay together in the folds.
        C: Inverse of the penalty, > 0; None takes the best held-out log loss between 1e-4 and 1e4
            over the mean variance of a feature.
        n_folds: Folds that choose `C`.
        seed: Seed of the folds.
    """
    present, y = np.unique(data.y, return_inverse=True)
    axes = _PrincipalAxes.from_data(data)
    scale, scores, projection = axes.scale, axes.scores, axes.projection
    problem = SoftmaxRegressions.from_masks(
        scores, y, np.ones((1, len(y)), bool), data.sample_weight, projection
    )
    start, penalty = problem.init_parameters(), 1.0
    if C is not None:
        penalty = 1 / (C * scale**2)
    elif (n_made := folds.count_folds(y, n_folds, data.group)) > 1:
        fold = folds.assign_folds(y, n_made, seed, data.group)
        start, penalty = _choose_penalty(scores, y, fold, data.sample_weight, projection)
    theta = problem.solve(start, penalty, FINAL_TOLERANCE)[0][0]
    weight, bias = np.zeros((data.k, data.x.shape[1])), np.full(data.k, -np.inf)
    weight[present], bias[present] = theta[:, :-1] @ axes.basis.T / scale, theta[:, -1]
    return RegressionResult(axes.centre, weight, bias, 1 / (penalty * scale**2))


def compute_label_log_prior(data: Data) -> NDArray[np.float64]:
    """Return log (weighted) class frequencies, `[k]`; 0 for a class without labelled rows."""
    counts = data.sum_label_weights()
    return np.where(counts > 0, np.log(np.where(counts > 0, counts, 1) / counts.sum()), 0.0)


@dataclass(frozen=True, eq=False)
class _PrincipalAxes:
    """Rows in principal axes, in units of the root mean variance of a feature.

    Attributes:
        centre: (Weighted) mean row, `[d]`.
        basis: Principal axes, `[d, r]`.
        scale: Root mean variance of a feature, > 0.
        scores: `[n, r + 1]` float32, the last column ones; the features themselves, `[n, d]`, where
            the scores would hold more than `MAX_SCORES` numbers.
        projection: From the features to the scores in that case.
    """

    centre: NDArray[np.float64]
    basis: NDArray[np.float64]
    scale: float
    scores: NDArray[np.float32]
    projection: Projection | None = None

    @classmethod
    def from_data(cls, data: Data) -> _PrincipalAxes:
        weight, total = data.sample_weight, float(data.weight.sum())
        if data.x.size > MAX_SCORES and len(data) > data.x.shape[1]:
            centre, basis, eigenvalues = find_axes(data.x, np.float32, weight)
            scale = float(np.sqrt(eigenvalues.sum() / (total * data.x.shape[1]))) or 1.0
            rotation = (basis / scale).astype(np.float32)
            mean_squares = eigenvalues / (scale**2 * total)
            projection = Projection(centre.astype(np.float32), rotation, mean_squares)
            return cls(projection.centre.astype(np.float64), basis, scale, data.x, projection)
        pca = fit_pca(data.x, np.float32, weight)
        scale = float(np.sqrt(pca.eigenvalues.sum() / (total * data.x.shape[1]))) or 1.0
        ones = np.ones((len(data), 1), np.float32)
        scores = np.hstack([pca.scores / np.float32(scale), ones])
        return cls(pca.centre, pca.basis, scale, scores)


def _choose_penalty(
    scores: NDArray[np.float32],
    y: Labels,
    fold: Labels,
    weight: NDArray[np.float64] | None,
    projection: Projection | None = None,
) -> tuple[Parameters, float]:
    """Return a starting point for all rows and the penalty with the least held-out log loss."""
    train = fold != np.arange(fold.max() + 1)[:, None]
    problem = SoftmaxRegressions.from_masks(scores, y, train, weight, projection)
    thetas, losses, history = problem.init_parameters(), list[float](), CurvatureHistory()
    start = thetas
    for strength in PENALTY_PATH:
        thetas, loss = problem.solve(thetas, 1 / strength, PATH_TOLERANCE, history)
        losses.append(loss)
        if loss <= min(losses):
            start = thetas
        if loss > STOP_RATIO * min(losses):
            break
    best = int(np.argmin(losses))
    strength = float(PENALTY_PATH[best])
    if 0 < best < len(losses) - 1:
        neighbours = slice(best - 1, best + 2)
        quadratic, slope, _ = np.polyfit(
            np.log(PENALTY_PATH[neighbours] / strength), losses[neighbours], 2
        )
        strength *= float(np.exp(-slope / (2 * quadratic)))
    return start.mean(0, keepdims=True), 1 / strength
