"""The one probe that all places in a network are judged by: a ridge, cross-validated exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.data import Labels, one_hot
from ilk.maths.axes import principal
from ilk.maths.sharpness import sharpness
from ilk.metrics import log_softmax

PATH = np.logspace(-4, 2, 10)  # of the penalty, over the mean sum of squares of an axis
Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Judged:
    """How a place did.

    Attributes:
        width: Numbers a row.
        right: Which held-out images are right, `[n]` bool.
        log_loss: Of held-out images, in nats.
    """

    width: int
    right: NDArray[np.bool_]
    log_loss: float


def judge(x: Any, y: Labels, parts: Labels) -> Judged:
    """Cross-validate the probe on features `x` `[n, d]`, classes `y` and folds `parts` `[n]`.

    The folds share the standardisation (it sees no label) and the penalty.
    """
    scores = held_out(standardised(np.asarray(x, np.float64)), one_hot(y, int(y.max()) + 1), parts)
    sharp = sharpness(scores, y)
    losses = -log_softmax(sharp * scores, axis=1)[np.arange(len(y)), y]
    return Judged(np.shape(x)[1], scores.argmax(1) == y, float(losses.mean()))


def standardised(x: Matrix) -> Matrix:
    """Columns of mean 0 and deviation 1; one that never changes becomes 0."""
    centred = x - x.mean(0)
    deviation = centred.std(0)
    changes = deviation > 1e-7 * np.maximum(np.abs(x).max(0), 1e-30)
    return np.asarray(centred * (changes / np.where(changes, deviation, 1)))


def held_out(x: Matrix, members: Matrix, parts: Labels) -> Matrix:
    """Ridge predictions `[n, k]` of each row by the folds it is not in, at the best penalty."""
    axes, n = principal(x), len(x)
    moment = axes.scores.T @ (members - members.mean(0))
    level = float(axes.squares.mean()) if len(axes.squares) else 1.0
    squared = axes.scores**2
    errors = []
    for alpha in level * PATH:
        leverage = 1 / n + squared @ (1 / (axes.squares + alpha))
        alone = (
            _residual(axes.scores, axes.squares, moment, members, alpha)
            / np.maximum(1 - leverage, 1e-12)[:, None]
        )
        errors.append(np.sum(alone**2))
    alpha = level * PATH[int(np.argmin(errors))]
    missed = _residual(axes.scores, axes.squares, moment, members, alpha)
    for fold in np.unique(parts):
        rows = np.flatnonzero(parts == fold)
        z = axes.scores[rows]
        hat = 1 / n + (z / (axes.squares + alpha)) @ z.T
        missed[rows] = np.linalg.solve(np.eye(len(rows)) - hat, missed[rows])
    return np.asarray(members - missed)


def _residual(
    scores: Matrix, squares: Matrix, moment: Matrix, members: Matrix, alpha: float
) -> Matrix:
    return np.asarray(members - members.mean(0) - scores @ (moment / (squares + alpha)[:, None]))
