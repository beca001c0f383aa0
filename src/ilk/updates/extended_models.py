"""Extend a fitted model by further classes, from class statistics and without the old images.

A method that is `Extendable` extends its models itself. Every other model was trained on its
classes jointly. Its logits stay as they are, and a further class j gets a column by Bayes' rule for
"j or one of the old classes",

    z_j = T s_j + T log sum_c exp(z_c / T),    s_j = g_j - log sum_c exp g_c    (c: old classes)

with g the log posteriors of Gaussians with one covariance over all classes, divided by the
temperature that calibrates them on left-out rows, and T the calibration temperature of the model.
softmax(z / T) then gives j the probability that the Gaussians give it, and leaves the ratios of the
old classes to the model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.core.contracts import Extendable, LeavesOneOut, Method, Model
from ilk.core.data import Data, Features, Labels, Logits
from ilk.core.linear_models import apply_affine
from ilk.core.part_bounds import POSITIVE, Bounds
from ilk.core.statistics import Statistics
from ilk.maths.gaussian import fit_linear_discriminant
from ilk.maths.leave_group_out import compute_gaussian_logits_by_fold
from ilk.maths.leave_one_out import compute_gaussian_logits
from ilk.trust.calibration import Calibration


@dataclass(frozen=True, eq=False)
class ExtendedModel:
    """A model and Gaussian columns for the classes that were added to it.

    Attributes:
        base: The model of the first `n_old` classes.
        weight: Linear classifier of the Gaussians of all classes, `[k, d]` float32.
        bias: Its bias, `[k]` float32.
        gaussian_temperature: Calibration temperature of the Gaussians, > 0.
        base_temperature: Calibration temperature of `base`, > 0.
        n_old: Number of classes of `base`.
    """

    kind: ClassVar[str] = "extended_model"
    shapes: ClassVar[dict[str, str]] = {"weight": "k d", "bias": "k"}
    bounds: ClassVar[dict[str, Bounds]] = {
        "gaussian_temperature": POSITIVE,
        "base_temperature": POSITIVE,
    }

    base: Model
    weight: Features
    bias: Features
    gaussian_temperature: float
    base_temperature: float
    n_old: int

    def logits(self, x: Features) -> Logits:
        """Return scores `[n, k]`, float64; the first `n_old` columns are those of `base`."""
        return self.append_columns(self.base.logits(x), apply_affine(x, self.weight, self.bias))

    def append_columns(self, z: Logits, gaussian: Logits) -> Logits:
        """Append a column per added class to the logits of `base`.

        Args:
            z: Logits of `base`, `[n, n_old]`.
            gaussian: Log posteriors of the Gaussians, `[n, k]`.
        """
        from scipy.special import logsumexp

        g = gaussian / self.gaussian_temperature
        log_odds = g[:, self.n_old :] - logsumexp(g[:, : self.n_old], axis=1, keepdims=True)
        log_total = logsumexp(z / self.base_temperature, axis=1, keepdims=True)
        return np.hstack([z, self.base_temperature * (log_odds + log_total)])


@dataclass(frozen=True, eq=False)
class StatisticsUpdate:
    """Added rows, and the class statistics before and after, both for all k classes.

    Attributes:
        before: Statistics of the old rows; counts of 0 for added classes.
        after: Statistics of all rows.
        added: The added rows, with all k classes.
        n_old: Number of classes before.
    """

    before: Statistics
    after: Statistics
    added: Data
    n_old: int

    @property
    def before_old(self) -> Statistics:
        """Statistics of the old rows for the `n_old` classes alone."""
        b = self.before
        return Statistics(b.counts[: self.n_old], b.means[: self.n_old], b.scatter)


@dataclass(frozen=True, eq=False)
class HeldOutRows:
    """Training rows with scores from models that were fitted without them.

    Attributes:
        x: Features, `[m, d]`.
        y: Classes, `[m]`.
        logits: Out-of-fold logits, `[m, k]`, for the classes that the model had when the rows were
            added or fitted.
        unknown_score: Out-of-fold out-of-distribution scores, `[m]`.
        group: Groups, `[m]`, -1 for a group of its own; None makes every row one.
    """

    x: Features
    y: Labels
    logits: Logits
    unknown_score: NDArray[np.float64]
    group: Labels | None = None

    def take(self, index: NDArray[np.bool_] | Labels) -> HeldOutRows:
        """Return the rows at `index`, positions or a mask `[m]`."""
        return HeldOutRows(
            self.x[index],
            self.y[index],
            self.logits[index],
            self.unknown_score[index],
            None if self.group is None else self.group[index],
        )


def is_jointly_trained(method: Method | None) -> bool:
    """Return whether the classes of the method's models cannot accept further rows."""
    return not isinstance(method, Extendable)


def extend_model(
    model: Model,
    method: Method | None,
    update: StatisticsUpdate,
    rows: HeldOutRows,
    temperature: float,
) -> Model:
    """Return `model` after the rows of `update` were added.

    Args:
        model: The fitted model.
        method: The method that fitted it; None if unknown.
        update: The added rows, and statistics before and after.
        rows: Rows of all classes, on which the Gaussian columns are calibrated.
        temperature: Calibration temperature of `model`.
    """
    if method is not None and isinstance(method, Extendable):
        return method.extend(model, update.added, update.after)
    linear, gaussian_temperature = fit_linear_discriminant(update.after), 1.0
    if len(rows.y):
        gaussian_logits = _compute_gaussian_logits(update.after, rows)
        gaussian_temperature = Calibration.fit(gaussian_logits, rows.y).temperature
    if isinstance(model, ExtendedModel):
        return replace(
            model, weight=linear.weight, bias=linear.bias, gaussian_temperature=gaussian_temperature
        )
    return ExtendedModel(
        model, linear.weight, linear.bias, gaussian_temperature, temperature, update.n_old
    )


def leave_one_out_logits(
    model: Model, method: Method | None, stats: Statistics, rows: HeldOutRows
) -> Logits:
    """Return logits `[m, k]` of `rows`, each as if `model` had been fitted without its group.

    Args:
        model: The fitted model.
        method: The method that fitted it; None if unknown.
        stats: Statistics of all rows that `model` was fitted on.
        rows: Rows that `model` was fitted on. Their out-of-fold logits are used where there is no
            closed form.
    """
    if method is not None and isinstance(method, LeavesOneOut):
        return method.leave_one_out_logits(model, rows.x, rows.y, stats, rows.group)
    if isinstance(model, ExtendedModel):
        gaussian_logits = _compute_gaussian_logits(stats, rows)
        return model.append_columns(rows.logits[:, : model.n_old], gaussian_logits)
    return rows.logits


def _compute_gaussian_logits(stats: Statistics, rows: HeldOutRows) -> Logits:
    """Return log posteriors of Gaussians `[m, k]`, each row, or its group, left out."""
    if rows.group is None:
        return compute_gaussian_logits(stats, rows.x, rows.y)
    return compute_gaussian_logits_by_fold(stats, rows.x, rows.y, rows.group)
