"""Logistic regression over all classes at once, its strength chosen on held-out folds.

David R. Cox, 1958, The Regression Analysis of Binary Sequences,
doi:10.1111/j.2517-6161.1958.tb00292.x.

    minimise  sum_i -log softmax(W x_i + b)[y_i] + |W|^2 / (2 C)

In the principal axes of x the Hessian is close to `p_c (1 - p_c) s_j + 1 / C` for class c and axis
j with sum of squares s_j, the diagonal from which L-BFGS starts. The path runs from strong to weak,
each solution starting at the one before, until the held-out log loss has clearly turned; the
strength is the vertex of the parabola through the lowest point and its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.data import Data, Labels
from ilk.maths import folds
from ilk.maths.axes import principal
from ilk.maths.softmax import Regressions, Thetas
from ilk.models import Facts, Linear, learnable

PATH = 10.0 ** np.array([-4, -3, -2, *np.arange(-1.5, 4.1, 0.5)])  # C times a feature's variance
TURNED = 1.01  # a held-out loss so many times the least ends the path
ON_PATH, AT_END = 3e-3, 1e-8  # share of the value that may be left to win


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
        seen, y = np.unique(known.y, return_inverse=True)
        axes = principal(known.x, np.float32)
        scale = float(np.sqrt(axes.squares.sum() / known.x.size)) or 1.0
        one = np.ones((len(y), 1), np.float32)
        scores = np.hstack([axes.scores / np.float32(scale), one])
        whole = Regressions.of(scores, y, np.ones((1, len(y)), bool))
        start, penalty = whole.start(), 1.0
        if self.C is not None:
            penalty = 1 / (self.C * scale**2)
        elif (parts := folds.count(y, self.folds)) > 1:
            start, penalty = _chosen(scores, y, folds.stratified(y, parts, self.seed))
        theta = whole.solve(start, penalty, AT_END)[0][0]
        weight, bias = np.zeros((data.k, known.x.shape[1])), np.full(data.k, -np.inf)
        weight[seen], bias[seen] = theta[:, :-1] @ axes.basis.T / scale, theta[:, -1]
        return Linear.about(axes.centre, weight, bias)


def _chosen(scores: NDArray[np.float32], y: Labels, part: Labels) -> tuple[Thetas, float]:
    """A start for all rows, and the penalty of the least log loss on the parts held out."""
    cut = Regressions.of(scores, y, part != np.arange(part.max() + 1)[:, None])
    thetas, lost = cut.start(), list[float]()
    start = thetas
    for strength in PATH:
        thetas, loss = cut.solve(thetas, 1 / strength, ON_PATH)
        lost.append(loss)
        if loss <= min(lost):
            start = thetas
        if loss > TURNED * min(lost):
            break
    at = int(np.argmin(lost))
    strength = float(PATH[at])
    if 0 < at < len(lost) - 1:
        near = slice(at - 1, at + 2)
        bend, slope, _ = np.polyfit(np.log(PATH[near] / strength), lost[near], 2)
        strength *= float(np.exp(-slope / (2 * bend)))
    return start.mean(0, keepdims=True), 1 / strength
