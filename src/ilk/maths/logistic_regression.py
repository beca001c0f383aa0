"""L2-penalized softmax regression with the penalty chosen by cross-validation.

    minimise  sum_i w_i -log softmax(W (x_i - centre) + b)[y_i] + penalty |W|^2 / 2

The path runs from strong to weak penalties, each solution starting at the previous one and from the
curvature that the solver met on the way, until the held-out log loss has clearly turned; the penalty is the vertex of the parabola through the best
point and its neighbours (see `ilk.maths.softmax_regression` for the solver).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Data, Labels
from ilk.maths import folds
from ilk.maths.pca import fit_pca
from ilk.maths.softmax_regression import CurvatureHistory, Parameters, SoftmaxRegressions

PENALTY_PATH = 10.0 ** np.array(
    [-4, -3, -2, *np.arange(-1.5, 4.1, 0.5)]
)  # C times a feature's variance
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
    pca = fit_pca(data.x, np.float32, data.sample_weight)
    scale = float(np.sqrt(pca.eigenvalues.sum() / (data.weight.sum() * data.x.shape[1]))) or 1.0
    ones = np.ones((len(y), 1), np.float32)
    scores = np.hstack([pca.scores / np.float32(scale), ones])
    problem = SoftmaxRegressions.from_masks(
        scores, y, np.ones((1, len(y)), bool), data.sample_weight
    )
    start, penalty = problem.init_parameters(), 1.0
    if C is not None:
        penalty = 1 / (C * scale**2)
    elif (n_made := folds.count_folds(y, n_folds, data.group)) > 1:
        fold = folds.assign_folds(y, n_made, seed, data.group)
        start, penalty = _choose_penalty(scores, y, fold, data.sample_weight)
    theta = problem.solve(start, penalty, FINAL_TOLERANCE)[0][0]
    weight, bias = np.zeros((data.k, data.x.shape[1])), np.full(data.k, -np.inf)
    weight[present], bias[present] = theta[:, :-1] @ pca.basis.T / scale, theta[:, -1]
    return RegressionResult(pca.centre, weight, bias, 1 / (penalty * scale**2))


def compute_label_log_prior(data: Data) -> NDArray[np.float64]:
    """Return log (weighted) class frequencies, `[k]`; 0 for a class without labelled rows."""
    counts = data.sum_label_weights()
    return np.where(counts > 0, np.log(np.where(counts > 0, counts, 1) / counts.sum()), 0.0)


def _choose_penalty(
    scores: NDArray[np.float32], y: Labels, fold: Labels, weight: NDArray[np.float64] | None
) -> tuple[Parameters, float]:
    """Return a starting point for all rows and the penalty with the least held-out log loss."""
    train = fold != np.arange(fold.max() + 1)[:, None]
    problem = SoftmaxRegressions.from_masks(scores, y, train, weight)
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
