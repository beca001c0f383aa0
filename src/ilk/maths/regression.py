"""Penalised softmax regression on rows of features, its strength chosen on held-out folds.

    minimise  sum_i -log softmax(W (x_i - centre) + b)[y_i] + penalty |W|^2 / 2

The path of penalties runs from strong to weak, each solution starting at the one before, until the
held-out log loss has clearly turned; the strength is the vertex of the parabola through the lowest
point and its neighbours (see `softmax` for the solver).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.data import Labels
from ilk.maths import folds
from ilk.maths.axes import principal
from ilk.maths.softmax import Regressions, Thetas

PATH = 10.0 ** np.array([-4, -3, -2, *np.arange(-1.5, 4.1, 0.5)])  # C times a feature's variance
TURNED = 1.01  # a held-out loss so many times the least ends the path
ON_PATH, AT_END = 3e-3, 1e-8  # share of the value that may be left to win


@dataclass(frozen=True, eq=False)
class Regression:
    """`(x - centre) @ weight.T + bias`; a class without a row has weight 0 and bias `-inf`.

    Attributes:
        centre: `[d]` float64.
        weight: `[k, d]` float64.
        bias: `[k]` float64.
        C: Inverse of the penalty, as told or as chosen.
    """

    centre: NDArray[np.float64]
    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    C: float


def regression(
    x: NDArray[Any], labels: Labels, k: int, C: float | None = None, parts: int = 5, seed: int = 0
) -> Regression:
    """The regression of rows `x [n, d]` with classes `labels [n]`, each of 0 to k - 1.

    Args:
        x: Features, finite.
        labels: Class of each row.
        k: Number of classes, with those that have no row.
        C: Inverse of the penalty, > 0; None takes the best held-out log loss between 1e-4 and 1e4
            over the mean variance of a feature.
        parts: Folds that choose `C`.
        seed: Draws the folds.
    """
    seen, y = np.unique(labels, return_inverse=True)
    axes = principal(x, np.float32)
    scale = float(np.sqrt(axes.squares.sum() / x.size)) or 1.0
    one = np.ones((len(y), 1), np.float32)
    scores = np.hstack([axes.scores / np.float32(scale), one])
    whole = Regressions.of(scores, y, np.ones((1, len(y)), bool))
    start, penalty = whole.start(), 1.0
    if C is not None:
        penalty = 1 / (C * scale**2)
    elif (made := folds.count(y, parts)) > 1:
        start, penalty = _chosen(scores, y, folds.stratified(y, made, seed))
    theta = whole.solve(start, penalty, AT_END)[0][0]
    weight, bias = np.zeros((k, x.shape[1])), np.full(k, -np.inf)
    weight[seen], bias[seen] = theta[:, :-1] @ axes.basis.T / scale, theta[:, -1]
    return Regression(axes.centre, weight, bias, 1 / (penalty * scale**2))


def log_shares(labels: Labels, k: int) -> NDArray[np.float64]:
    """Log of the share of each class among `labels`, `[k]`; 0 for a class without a row."""
    counts = np.bincount(labels, minlength=k)
    return np.where(counts > 0, np.log(np.maximum(counts, 1) / len(labels)), 0.0)


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
