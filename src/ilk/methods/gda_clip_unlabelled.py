"""Zero-shot answers that learn from rows without labels: Gaussians fitted by EM beside the text.

Zhengbo Wang, Jian Liang, Lijun Sheng, Ran He, Zilei Wang, Tieniu Tan, 2024, A Hard-to-Beat Baseline
for Training-free CLIP-based Adaptation, arXiv 2402.04087, equations 5 and 6.

    start   g_ik = softmax_k(100 u_i't_k),  u = x / |x|
    M       m_k = sum_i g_ik u_i / sum_i g_ik
            S = 1/K sum_k [sum_i g_ik (u_i - m_k)(u_i - m_k)' / sum_i g_ik]
            P = D [(N - 1) S + tr(S) I]^-1
    E       g_ik = softmax_k(100 u_i't_k + alpha (u_i' P m_k - m_k' P m_k / 2 - log K))

Rows with a label keep it throughout; with the classes of equal weight in S, as in the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ilk.data import Data, one_hot
from ilk.errors import InputError
from ilk.maths.gaussian import (
    Matrix,
    Statistics,
    discriminant,
    even_spread,
    kubokawa_srivastava,
    log_prior,
)
from ilk.metrics import softmax
from ilk.models import Facts, UnitLinear, hinted, unit_rows

TEXT_SCALE = 100.0
PRESENCE = 1e-6  # rows' worth of its text in each class, so that none dies out


@dataclass(frozen=True)
class ZeroShotEM(Facts):
    """Zero-shot and Gaussians whose means come from all rows, labelled or not.

    Attributes:
        alpha: Weight of the Gaussian scores, >= 0. None gives both scores the same spread over the
            classes, anew in each round; there are no labels to choose it by.
        rounds: Of expectation and maximisation, >= 1.
    """

    uses_unlabelled = True

    needs_hints: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = False

    alpha: float | None = None
    rounds: int = 10

    def __post_init__(self) -> None:
        if self.alpha is not None and not 0 <= self.alpha < np.inf:
            raise ValueError(f"alpha is {self.alpha}; it must be at least 0, or None to choose it")
        if self.rounds < 1:
            raise ValueError(f"rounds is {self.rounds}; at least 1 is needed")

    def fit(self, data: Data) -> UnitLinear:
        text = unit_rows(hinted(data, self))
        if not len(data):
            raise InputError("ZeroShotEM learns from rows and there are none; try ZeroShot")
        u, known = unit_rows(data.x), data.y >= 0
        told, zero_shot = one_hot(data.y, data.k), TEXT_SCALE * u @ text.T
        scores = zero_shot
        for _ in range(self.rounds):
            g = np.where(known[:, None], told, softmax(scores, axis=1))
            weight, bias = _gaussian(u, g, text)
            own = u @ weight.T + bias
            alpha = even_spread(zero_shot, own) if self.alpha is None else self.alpha
            scores = zero_shot + alpha * own
        weight, bias = TEXT_SCALE * text + alpha * weight, alpha * bias
        return UnitLinear(weight.astype(np.float32), bias.astype(np.float32))


def _gaussian(u: Matrix, g: Matrix, text: Matrix) -> tuple[Matrix, Matrix]:
    """Weight and bias of the Gaussian scores in `u`, from memberships `g [n, k]`."""
    k, counts = len(text), g.sum(0) + PRESENCE
    means = (g.T @ u + PRESENCE * text) / counts[:, None]
    rows = (g / counts).sum(1) / k
    s = (u * rows[:, None]).T @ u - means.T @ means / k
    even = Statistics(np.full(k, len(u) / k), means, (len(u) - 1) * s)
    weight, bias = discriminant(even, kubokawa_srivastava(even), log_prior(even))
    return weight, bias - weight @ even.centre
