"""Add rows of known classes to a model that was trained on its classes jointly.

Such a model cannot be fitted anew without its old rows. Its logits z are moved by what the added
rows change in Gaussians with one covariance, whose statistics are kept:

    z'_c(x) = z_c(x) + (T / t) (g_c(x; all rows) - g_c(x; old rows))

with g the log posteriors of the Gaussians, t the temperature that calibrates them on left-out rows
and T that of the model: both differences are then in units of calibrated log-odds. Without added
rows nothing changes, and where the model is the Gaussian one itself, z' is that of all rows. g is
affine in x but for a term that all classes share, and so is the change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ilk.core.contracts import Model
from ilk.core.data import Features, Labels, Logits
from ilk.core.linear_models import apply_affine
from ilk.core.statistics import Statistics
from ilk.maths.gaussian import fit_linear_discriminant
from ilk.maths.leave_group_out import compute_gaussian_logits_by_fold
from ilk.maths.leave_one_out import compute_gaussian_logits
from ilk.trust.calibration import Calibration
from ilk.updates.extended_models import HeldOutRows, StatisticsUpdate


@dataclass(frozen=True, eq=False)
class AdjustedModel:
    """A model, and an affine change of its logits.

    Attributes:
        base: The model, with k classes.
        weight: Change of its logits per feature, `[k, d]` float32.
        bias: Constant change, `[k]` float32.
    """

    kind: ClassVar[str] = "adjusted_model"
    shapes: ClassVar[dict[str, str]] = {"weight": "k d", "bias": "k"}

    base: Model
    weight: Features
    bias: Features

    def logits(self, x: Features) -> Logits:
        """Return the changed logits `[n, k]`, float64."""
        return self.base.logits(x) + apply_affine(x, self.weight, self.bias)


def adjust_model(
    model: Model, update: StatisticsUpdate, rows: HeldOutRows, n_old_rows: int, temperature: float
) -> tuple[AdjustedModel, Logits]:
    """Return a model after rows of its own classes were added, and left-out logits `[m, k]`.

    Args:
        model: The fitted model.
        update: The added rows, and statistics before and after.
        rows: Rows of all classes: first those that `model` was fitted on, with out-of-fold logits,
            then the added ones, with the logits of `model`.
        n_old_rows: How many of `rows` `model` was fitted on.
        temperature: Calibration temperature of `model`.
    """
    after = _leave_out(update.after, rows.x, rows.y, rows.group)
    is_old = np.arange(len(rows.y)) < n_old_rows
    before = np.empty_like(after)
    if is_old.any():
        group = None if rows.group is None else rows.group[is_old]
        before[is_old] = _leave_out(update.before, rows.x[is_old], rows.y[is_old], group)
    unseen = np.full(int((~is_old).sum()), -1)
    before[~is_old] = compute_gaussian_logits(update.before, rows.x[~is_old], unseen)
    gaussian_temperature = Calibration.fit(after, rows.y).temperature if len(rows.y) else 1.0
    factor = temperature / gaussian_temperature
    new, old = fit_linear_discriminant(update.after), fit_linear_discriminant(update.before)
    present = (update.before.counts > 0)[:, None]
    weight = np.where(present, factor * (np.float64(new.weight) - old.weight), 0.0)
    with np.errstate(invalid="ignore"):
        bias = np.where(present[:, 0], factor * (np.float64(new.bias) - old.bias), 0.0)
        change = factor * (after - before)
    logits = rows.logits + np.where(np.isfinite(change), change, 0.0)
    adjusted = AdjustedModel(model, weight.astype(np.float32), bias.astype(np.float32))
    return adjusted, logits


def _leave_out(stats: Statistics, x: Features, y: Labels, group: Labels | None) -> Logits:
    """Return log posteriors of Gaussians `[m, k]`, each row, or its group, left out."""
    if group is None:
        return compute_gaussian_logits(stats, x, y)
    return compute_gaussian_logits_by_fold(stats, x, y, group)
