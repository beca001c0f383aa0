"""Gaussian discriminant analysis of a few labelled rows, combined with zero-shot scores.

Zhengbo Wang, Jian Liang, Lijun Sheng, Ran He, Zilei Wang, Tieniu Tan, 2024, A Hard-to-Beat Baseline
for Training-free CLIP-based Adaptation, arXiv 2402.04087, equations 1 to 4.

    score_c(x) = 100 u't_c + alpha (u' P m_c - m_c' P m_c / 2 - log K),  u = x / |x|
    P = D [(N - 1) S + tr(S) I]^-1

with class means m_c, the covariance S of the N rows about them, and text embeddings t_c. The mean
of a class without rows is that of the 64 labelled rows nearest to its text embedding and 16 copies
of the embedding (base-to-new); the precision is shared.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ilk.core.contracts import MethodTags, class_embeddings_of, labelled_features
from ilk.core.data import Data
from ilk.core.linear_models import NormalizedLinear, normalize_rows
from ilk.core.statistics import Statistics
from ilk.maths import folds
from ilk.maths.covariance import kubokawa_srivastava
from ilk.maths.gaussian import (
    Matrix,
    compute_log_prior,
    compute_statistics,
    fit_discriminant,
    match_spread,
)
from ilk.maths.pca import orthonormal_basis

ALPHAS = (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0)
TEXT_SCALE = 100.0
NEAREST_ROWS, TEXT_COPIES = 64, 16
DEFAULT_SPREAD_RATIO = 0.1  # spread of the Gaussian scores over that of the text, without folds


@dataclass(frozen=True)
class GDAZeroShot(MethodTags):
    """The sum of zero-shot and Gaussian scores.

    Attributes:
        alpha: Weight of the Gaussian scores, >= 0. None takes the most accurate value in
            cross-validation, of 1e-4 to 100, the smallest in a tie; where no fold can be made, a
            tenth of the value that gives both scores the same spread over the classes.
        folds: Cross-validation folds that choose `alpha`, >= 2.
        seed: Seed of the folds.
    """

    default_candidate = True
    fit_cost = 1.0
    supports_weights = True

    needs_class_embeddings: ClassVar[bool] = True

    alpha: float | None = None
    folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.alpha is not None and not 0 <= self.alpha < np.inf:
            raise ValueError(f"alpha is {self.alpha}; it must be at least 0, or None to choose it")
        if self.folds < 2:
            raise ValueError(f"folds is {self.folds}; at least 2 are needed")

    def fit(self, data: Data) -> NormalizedLinear:
        text = normalize_rows(class_embeddings_of(data, self))
        labelled = labelled_features(data, self)
        u = normalize_rows(labelled.x)
        basis = orthonormal_basis(np.vstack([u, text]))
        rows, projected_text = replace(labelled, x=u @ basis), text @ basis
        weight, bias = _fit_gaussian(rows, projected_text, len(basis))
        alpha = self.alpha
        if alpha is None and folds.count_folds(labelled.y, self.folds, labelled.group) > 1:
            alpha = self._choose_alpha(rows, projected_text, len(basis))
        elif alpha is None:
            alpha = DEFAULT_SPREAD_RATIO * match_spread(
                TEXT_SCALE * rows.x @ projected_text.T,
                rows.x @ weight.T + bias,
                labelled.sample_weight,
            )
        weight, bias = TEXT_SCALE * text + alpha * weight @ basis.T, alpha * bias
        return NormalizedLinear(weight.astype(np.float32), bias.astype(np.float32))

    def _choose_alpha(self, rows: Data, text: Matrix, n_features: int) -> float:
        n_folds = folds.count_folds(rows.y, self.folds, rows.group)
        fold = folds.assign_folds(rows.y, n_folds, self.seed, rows.group)
        n_correct = np.zeros(len(ALPHAS))
        for f in range(n_folds):
            held_out = rows.take(fold == f)
            weight, bias = _fit_gaussian(rows.take(fold != f), text, n_features)
            zero_shot = TEXT_SCALE * held_out.x @ text.T
            gaussian = held_out.x @ weight.T + bias
            for i, alpha in enumerate(ALPHAS):
                is_correct = (zero_shot + alpha * gaussian).argmax(1) == held_out.y
                n_correct[i] += held_out.weight @ is_correct
        return ALPHAS[int(n_correct.argmax())]


def _fit_gaussian(rows: Data, text: Matrix, n_features: int) -> tuple[Matrix, Matrix]:
    """Return weight and bias of the Gaussian scores in the coordinates of `rows`."""
    stats = compute_statistics(rows.x, rows.y, rows.k, weight=rows.sample_weight)
    covariance = kubokawa_srivastava(stats, n_features)
    text_means = _estimate_text_means(rows, text)
    means = np.where(stats.present[:, None], stats.means, text_means)
    balanced = Statistics(np.ones(len(text), np.int64), means, stats.scatter)
    weight, bias = fit_discriminant(balanced, covariance, compute_log_prior(balanced))
    return weight, bias - weight @ balanced.centre


def _estimate_text_means(rows: Data, text: Matrix) -> Matrix:
    """Return a mean per class from its nearest rows and copies of its text embedding, `[k, d]`."""
    u, weight = rows.x, rows.sample_weight
    nearest = np.argsort(-(text @ u.T), axis=1, kind="stable")
    if weight is None:
        nearest = nearest[:, :NEAREST_ROWS]
        return np.asarray(
            (u[nearest].sum(1) + TEXT_COPIES * text) / (nearest.shape[1] + TEXT_COPIES)
        )
    before = weight[nearest].cumsum(1) - weight[nearest]
    copies = np.zeros(nearest.shape)
    np.put_along_axis(copies, nearest, np.clip(NEAREST_ROWS - before, 0, weight[nearest]), axis=1)
    return np.asarray(
        (copies @ u + TEXT_COPIES * text) / (copies.sum(1, keepdims=True) + TEXT_COPIES)
    )
