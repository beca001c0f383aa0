"""The linear probe that compares feature points: a ridge with exact cross-validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels, one_hot
from ilk.core.metrics import log_softmax
from ilk.maths.inverse_temperature import fit_inverse_temperature
from ilk.maths.pca import fit_pca

PENALTIES = np.logspace(-4, 2, 10)  # relative to the mean eigenvalue
Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ProbeScore:
    """The result of a probe.

    Attributes:
        n_features: Number of features.
        is_correct: Whether each held-out image is classified correctly, `[n]` bool.
        log_loss: Log loss of held-out images, in nats.
    """

    n_features: int
    is_correct: NDArray[np.bool_]
    log_loss: float


def evaluate_probe(x: Any, y: Labels, fold_ids: Labels) -> ProbeScore:
    """Cross-validate the probe on features `[n, d]`, classes `[n]` and folds `[n]`.

    All folds share the standardisation (which uses no label) and the penalty.
    """
    scores = predict_held_out(
        standardize(np.asarray(x, np.float64)), one_hot(y, int(y.max()) + 1), fold_ids
    )
    inverse_temperature = fit_inverse_temperature(scores, y)
    losses = -log_softmax(inverse_temperature * scores, axis=1)[np.arange(len(y)), y]
    return ProbeScore(np.shape(x)[1], scores.argmax(1) == y, float(losses.mean()))


def standardize(x: Matrix) -> Matrix:
    """Scale columns of `x` `[n, d]` to mean 0 and deviation 1; constant columns become 0."""
    centred = x - x.mean(0)
    deviation = centred.std(0)
    changes = deviation > 1e-7 * np.maximum(np.abs(x).max(0), 1e-30)
    return np.asarray(centred * (changes / np.where(changes, deviation, 1)))


def predict_held_out(x: Matrix, targets: Matrix, fold_ids: Labels) -> Matrix:
    """Return cross-validated ridge predictions `[n, k]` of targets `[n, k]`."""
    axes, n = fit_pca(x), len(x)
    moment = axes.scores.T @ (targets - targets.mean(0))
    scale = float(axes.eigenvalues.mean()) if len(axes.eigenvalues) else 1.0
    squared = axes.scores**2
    errors = []
    for alpha in scale * PENALTIES:
        leverage = 1 / n + squared @ (1 / (axes.eigenvalues + alpha))
        loo_residuals = (
            _compute_residuals(axes.scores, axes.eigenvalues, moment, targets, alpha)
            / np.maximum(1 - leverage, 1e-12)[:, None]
        )
        errors.append(np.sum(loo_residuals**2))
    alpha = scale * PENALTIES[int(np.argmin(errors))]
    residuals = _compute_residuals(axes.scores, axes.eigenvalues, moment, targets, alpha)
    for fold in np.unique(fold_ids):
        rows = np.flatnonzero(fold_ids == fold)
        z = axes.scores[rows]
        hat = 1 / n + (z / (axes.eigenvalues + alpha)) @ z.T
        residuals[rows] = np.linalg.solve(np.eye(len(rows)) - hat, residuals[rows])
    return np.asarray(targets - residuals)


def _compute_residuals(
    scores: Matrix, squares: Matrix, moment: Matrix, targets: Matrix, alpha: float
) -> Matrix:
    return np.asarray(targets - targets.mean(0) - scores @ (moment / (squares + alpha)[:, None]))
