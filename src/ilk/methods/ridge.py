"""Ridge regression of class membership, its penalty chosen by exact leave-one-out.

Arthur E. Hoerl, Robert W. Kennard, 1970, Ridge Regression: Biased Estimation for Nonorthogonal
Problems, doi:10.1080/00401706.1970.10488634; leave-one-out in closed form: David M. Allen, 1974,
The Relationship between Variable Selection and Data Augmentation and a Method for Prediction,
doi:10.1080/00401706.1974.10489157.

    W = Y'X (X'X + alpha I)^-1 on centred X and one-hot Y
    row i without itself misses by (y_i - f(x_i)) / (1 - h_i)
    h_i = 1 / n + x_i' (X'X + alpha I)^-1 x_i

One eigendecomposition, of X'X or of XX' whichever is smaller, serves the whole path. Scores are
multiplied by the one factor that makes rows scored without themselves likeliest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.data import Data, one_hot
from ilk.maths.axes import Axes, principal
from ilk.maths.sharpness import sharpness
from ilk.models import Facts, Linear, learnable

PATH = np.logspace(-6, 3, 19)  # of alpha over the mean of the r sums of squares
CHUNK = 4096
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Ridge(Facts):
    """One-hot ridge regression.

    Attributes:
        alpha: The penalty, > 0, as in scikit-learn. None takes the least squared error of rows
            predicted without themselves, on 19 penalties.
    """

    board = True

    alpha: float | None = None

    def __post_init__(self) -> None:
        if self.alpha is not None and not 0 < self.alpha < np.inf:
            raise ValueError(f"alpha is {self.alpha}; it must be above 0, or None to choose it")

    def fit(self, data: Data) -> Linear:
        known = learnable(data, self)
        axes = principal(known.x)
        members = one_hot(known.y, data.k)
        counts = data.counts()
        share = counts / len(known)
        moment = axes.scores.T @ (members - share)
        judged = np.flatnonzero(counts[known.y] > 1)  # a class's only row cannot be predicted
        level = float(axes.squares.mean()) if len(axes.squares) else 1.0
        path = level * PATH if self.alpha is None else np.array([self.alpha])
        if self.alpha is None and not len(judged):
            path = np.array([level])
        alpha = path[0]
        if len(path) > 1:
            alpha = path[np.argmin(_errors(axes, members, moment, path, judged))]
        seen = counts > 0
        t = 1.0
        if len(judged) and seen.sum() > 1:
            alone = members[judged] - _missed(axes, members, moment, alpha, judged)
            t = sharpness(alone[:, seen], members[judged][:, seen].argmax(1))
        weight = t * (moment.T / (axes.squares + alpha)) @ axes.basis.T
        return Linear.about(axes.centre, weight, np.where(seen, t * share, -np.inf))


def _errors(
    axes: Axes, members: Matrix, moment: Matrix, path: Matrix, judged: NDArray[np.int64]
) -> Matrix:
    """Summed squared leave-one-out error of each penalty, `[len(path)]`."""
    parts = [judged[at : at + CHUNK] for at in range(0, len(judged), CHUNK)]
    return np.array(
        [sum(np.sum(_missed(axes, members, moment, a, p) ** 2) for p in parts) for a in path]
    )


def _missed(
    axes: Axes, members: Matrix, moment: Matrix, alpha: float, rows: NDArray[np.int64]
) -> Matrix:
    """What `rows` are missed by when each is predicted from all other rows, `[len(rows), k]`."""
    n, z = len(members), axes.scores[rows]
    residual = members[rows] - members.mean(0) - z @ (moment / (axes.squares + alpha)[:, None])
    leverage = 1 / n + (z * z) @ (1 / (axes.squares + alpha))
    return np.asarray(residual / np.maximum(1 - leverage, 1e-12)[:, None])
