"""Gaussian discriminant analysis of a few labelled rows, added to the zero-shot scores.

Zhengbo Wang, Jian Liang, Lijun Sheng, Ran He, Zilei Wang, Tieniu Tan, 2024, A Hard-to-Beat Baseline
for Training-free CLIP-based Adaptation, arXiv 2402.04087, equations 1 to 4.

    score_c(x) = 100 u't_c + alpha (u' P m_c - m_c' P m_c / 2 - log K),  u = x / |x|
    P = D [(N - 1) S + tr(S) I]^-1

with class means m_c, the covariance S of the N rows around them, and text embeddings t_c. A class
without a row gets the mean of its 64 nearest labelled rows and 16 copies of its text (base-to-new),
and keeps the shared precision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ilk.data import Data, Labels
from ilk.maths import folds
from ilk.maths.axes import span
from ilk.maths.gaussian import (
    Matrix,
    Statistics,
    class_statistics,
    discriminant,
    even_spread,
    kubokawa_srivastava,
    log_prior,
)
from ilk.models import Facts, UnitLinear, hinted, learnable, unit_rows

ALPHAS = (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0)
TEXT_SCALE = 100.0
NEAREST, COPIES = 64, 16
UNTRIED = 0.1  # of an even say, for Gaussians that no row held out could vouch for


@dataclass(frozen=True)
class GDAZeroShot(Facts):
    """The ensemble of zero-shot and Gaussian scores.

    Attributes:
        alpha: Weight of the Gaussian scores, >= 0. None takes, of 1e-4 to 100, the most accurate
            on folds of the training rows, the smallest where even; where no fold can be made, a
            tenth of what gives both scores the same spread over the classes.
        folds: Parts of the training rows that choose `alpha`, >= 2.
        seed: Draws the folds.
    """

    board = True

    needs_hints: ClassVar[bool] = True

    alpha: float | None = None
    folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.alpha is not None and not 0 <= self.alpha < np.inf:
            raise ValueError(f"alpha is {self.alpha}; it must be at least 0, or None to choose it")
        if self.folds < 2:
            raise ValueError(f"folds is {self.folds}; at least 2 are needed")

    def fit(self, data: Data) -> UnitLinear:
        text = unit_rows(hinted(data, self))
        known = learnable(data, self)
        u = unit_rows(known.x)
        basis = span(np.vstack([u, text]))
        u, within = u @ basis, text @ basis
        weight, bias = _gaussian(u, known.y, within, len(basis))
        alpha = self.alpha
        if alpha is None and folds.count(known.y, self.folds) > 1:
            alpha = self._chosen(u, known.y, within, len(basis))
        elif alpha is None:
            alpha = UNTRIED * even_spread(TEXT_SCALE * u @ within.T, u @ weight.T + bias)
        weight, bias = TEXT_SCALE * text + alpha * weight @ basis.T, alpha * bias
        return UnitLinear(weight.astype(np.float32), bias.astype(np.float32))

    def _chosen(self, u: Matrix, y: Labels, text: Matrix, width: int) -> float:
        parts = folds.count(y, self.folds)
        part = folds.stratified(y, parts, self.seed)
        right = np.zeros(len(ALPHAS), int)
        for f in range(parts):
            out = part == f
            weight, bias = _gaussian(u[~out], y[~out], text, width)
            zero_shot, gaussian = TEXT_SCALE * u[out] @ text.T, u[out] @ weight.T + bias
            for i, alpha in enumerate(ALPHAS):
                right[i] += np.sum((zero_shot + alpha * gaussian).argmax(1) == y[out])
        return ALPHAS[int(right.argmax())]


def _gaussian(u: Matrix, y: Labels, text: Matrix, width: int) -> tuple[Matrix, Matrix]:
    """Weight and bias of the Gaussian scores in `u`, coordinates of rows `width` features wide."""
    stats = class_statistics(u, y, len(text))
    covariance = kubokawa_srivastava(stats, width)
    means = np.where(stats.seen[:, None], stats.means, _by_text(u, text))
    even = Statistics(np.ones(len(text), np.int64), means, stats.scatter)
    weight, bias = discriminant(even, covariance, log_prior(even))
    return weight, bias - weight @ even.centre


def _by_text(u: Matrix, text: Matrix) -> Matrix:
    """A mean for each class from its text: the nearest rows, and copies of the text itself."""
    near = np.argsort(-(text @ u.T), axis=1, kind="stable")[:, :NEAREST]
    return np.asarray((u[near].sum(1) + COPIES * text) / (near.shape[1] + COPIES))
