"""Zero-shot classification with Gaussians fitted to unlabelled rows by EM.

Zhengbo Wang, Jian Liang, Lijun Sheng, Ran He, Zilei Wang, Tieniu Tan, 2024, A Hard-to-Beat Baseline
for Training-free CLIP-based Adaptation, arXiv 2402.04087, equations 5 and 6.

    start   g_ik = softmax_k(100 u_i't_k),  u = x / |x|
    M       m_k = sum_i g_ik u_i / sum_i g_ik
            S = 1/K sum_k [sum_i g_ik (u_i - m_k)(u_i - m_k)' / sum_i g_ik]
            P = D [(N - 1) S + tr(S) I]^-1
    E       g_ik = softmax_k(100 u_i't_k + alpha (u_i' P m_k - m_k' P m_k / 2 - log K))

Labelled rows keep their label throughout. Classes have equal weight in S, as in the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ilk.core.contracts import MethodTags, class_embeddings_of
from ilk.core.data import Data, one_hot
from ilk.core.errors import InputError
from ilk.core.linear_models import NormalizedLinear, normalize_rows
from ilk.core.metrics import softmax
from ilk.core.statistics import Statistics
from ilk.maths.covariance import kubokawa_srivastava
from ilk.maths.gaussian import Matrix, compute_log_prior, fit_discriminant, match_spread

TEXT_SCALE = 100.0
PRIOR_COUNT = 1e-6  # weight of its text embedding in each class mean, so that none is empty


@dataclass(frozen=True)
class ZeroShotEM(MethodTags):
    """The sum of zero-shot scores and Gaussian scores fitted to labelled and unlabelled rows.

    Attributes:
        alpha: Weight of the Gaussian scores, >= 0. None gives both scores the same spread over the
            classes in each iteration; there are no labels to choose it by.
        n_iter: Number of EM iterations, >= 1.
    """

    uses_unlabelled = True
    supports_weights = True

    needs_class_embeddings: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = False

    alpha: float | None = None
    n_iter: int = 10

    def __post_init__(self) -> None:
        if self.alpha is not None and not 0 <= self.alpha < np.inf:
            raise ValueError(f"alpha is {self.alpha}; it must be at least 0, or None to choose it")
        if self.n_iter < 1:
            raise ValueError(f"n_iter is {self.n_iter}; at least 1 is needed")

    def fit(self, data: Data) -> NormalizedLinear:
        text = normalize_rows(class_embeddings_of(data, self))
        data = data.take_weighted()
        if not len(data):
            raise InputError("ZeroShotEM learns from rows and there are none; try ZeroShot")
        u, is_labelled = normalize_rows(data.x), data.y >= 0
        targets, zero_shot = one_hot(data.y, data.k), TEXT_SCALE * u @ text.T
        scores = zero_shot
        for _ in range(self.n_iter):
            g = np.where(is_labelled[:, None], targets, softmax(scores, axis=1))
            weight, bias = _fit_gaussian(u, g * data.weight[:, None], text, data.weight.sum())
            gaussian_scores = u @ weight.T + bias
            alpha = (
                match_spread(zero_shot, gaussian_scores, data.sample_weight)
                if self.alpha is None
                else self.alpha
            )
            scores = zero_shot + alpha * gaussian_scores
        weight, bias = TEXT_SCALE * text + alpha * weight, alpha * bias
        return NormalizedLinear(weight.astype(np.float32), bias.astype(np.float32))


def _fit_gaussian(u: Matrix, g: Matrix, text: Matrix, n: float) -> tuple[Matrix, Matrix]:
    """Return weight and bias of the Gaussian scores, from weighted memberships of sum `n`."""
    k, counts = len(text), g.sum(0) + PRIOR_COUNT
    means = (g.T @ u + PRIOR_COUNT * text) / counts[:, None]
    rows = (g / counts).sum(1) / k
    s = (u * rows[:, None]).T @ u - means.T @ means / k
    balanced = Statistics(np.full(k, n / k), means, max(n - 1, 0.0) * s)
    weight, bias = fit_discriminant(
        balanced, kubokawa_srivastava(balanced), compute_log_prior(balanced)
    )
    return weight, bias - weight @ balanced.centre
