"""Calibration per label: margins become probabilities by a logistic curve.

John C. Platt, 1999, Probabilistic Outputs for Support Vector Machines, with the smoothed targets
of its section 2.2 and Newton steps with backtracking, as Hsuan-Tien Lin, Chih-Jen Lin, Ruby C.
Weng, 2007, A Note on Platt's Probabilistic Outputs, doi:10.1007/s10994-007-5018-6:

    p_c = 1 / (1 + exp(-(a_c z_c + b_c))),  targets (n_+ + 1) / (n_+ + 2) and 1 / (n_- + 2)

Departure: a_c is at least 0, so that calibration never reverses the order of the images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.core.part_bounds import NON_NEGATIVE, Bounds
from ilk.maths.iterative_stratification import Targets

MAX_STEPS = 100
TOLERANCE = 1e-9  # gradient per row at which Newton's method stops
RIDGE = 1e-10  # added to the Hessian

Margins = NDArray[np.float64]  # [n, k], nan where there is none
Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LabelCalibration:
    """A logistic curve per label.

    Attributes:
        slope: a_c >= 0, `[k]`.
        intercept: b_c, `[k]`.
        n_rows: Number of held-out rows that it was fitted on.
    """

    kind: ClassVar[str] = "label_calibration"
    shapes: ClassVar[dict[str, str]] = {"slope": "k", "intercept": "k"}
    bounds: ClassVar[dict[str, Bounds]] = {"slope": NON_NEGATIVE}

    slope: Vector
    intercept: Vector
    n_rows: int = 0

    def to_probabilities(self, margins: Margins) -> NDArray[np.float64]:
        """Return the probability that each label applies, `[n, k]`, of margins `[n, k]`."""
        return sigmoid(margins * self.slope + self.intercept)

    @classmethod
    def fit(cls, margins: Margins, targets: Targets) -> LabelCalibration:
        """Fit to held-out rows; a label without margins is as frequent as in `targets`.

        Args:
            margins: Margins of rows that the model was not fitted on, `[n, k]`; nan for none.
            targets: Whether each label applies, `[n, k]`.
        """
        curves = [
            _fit_curve(z[rows], t[rows] if rows.any() else t)
            for z, t in zip(margins.T, targets.T, strict=True)
            for rows in [np.isfinite(z)]
        ]
        slope, intercept = np.array(curves).reshape(-1, 2).T
        return cls(np.ascontiguousarray(slope), np.ascontiguousarray(intercept), len(targets))


def cross_calibrate_labels(margins: Margins, targets: Targets, fold: Labels) -> NDArray[np.float64]:
    """Return probabilities `[n, k]`, each fold calibrated on the others; nan where margins are.

    Args:
        margins: Out-of-fold margins, `[n, k]`.
        targets: Whether each label applies, `[n, k]`.
        fold: Fold of each row, `[n]`.
    """
    out = np.full(margins.shape, np.nan)
    for f in range(int(fold.max(initial=-1)) + 1):
        is_test = fold == f
        calibration = LabelCalibration.fit(margins[~is_test], targets[~is_test])
        out[is_test] = calibration.to_probabilities(margins[is_test])
    return out


def sigmoid(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `1 / (1 + exp(-z))` of any shape `[...]`, without overflow."""
    e = np.exp(-np.abs(z))
    return np.asarray(np.where(z >= 0, 1, e) / (1 + e))


def _fit_curve(z: Vector, is_positive: NDArray[np.bool_]) -> tuple[float, float]:
    """Return slope and intercept for margins `[m]`, or a constant if `z` is empty or useless."""
    n, n_positive = len(is_positive), int(is_positive.sum())
    target = np.where(is_positive, (n_positive + 1) / (n_positive + 2), 1 / (n - n_positive + 2))
    rate = float(target.mean()) if n else 0.5
    constant = (0.0, float(np.log(rate / (1 - rate))))
    scale = float(np.std(z)) if len(z) else 0.0
    if scale == 0 or not 0 < n_positive < n:
        return constant
    centre = float(z.mean())
    slope, intercept = _minimize_log_loss((z - centre) / scale, target, constant[1])
    if slope <= 0:
        return constant
    return slope / scale, intercept - slope * centre / scale


def _minimize_log_loss(u: Vector, target: Vector, start: float) -> tuple[float, float]:
    """Return a, b that minimize the log loss of `sigmoid(a u + b)` for soft targets, `[m]`."""
    design = np.column_stack([u, np.ones_like(u)])
    theta = np.array([0.0, start])
    loss = _log_loss(design @ theta, target)
    for _ in range(MAX_STEPS):
        p = sigmoid(design @ theta)
        gradient = design.T @ (p - target)
        if np.abs(gradient).max() <= TOLERANCE * len(u):
            break
        hessian = (design * (p * (1 - p))[:, None]).T @ design + RIDGE * np.eye(2)
        direction, step = np.linalg.solve(hessian, gradient), 1.0
        while step > 1e-10:
            new_loss = _log_loss(design @ (theta - step * direction), target)
            if new_loss <= loss - 1e-4 * step * float(gradient @ direction):
                break
            step /= 2
        else:
            break
        theta, loss = theta - step * direction, new_loss
    return float(theta[0]), float(theta[1])


def _log_loss(z: Vector, target: Vector) -> float:
    return float(np.sum(np.logaddexp(0, z) - target * z))
