"""Calibration: turn logits into probabilities by temperature scaling and a uniform component.

Chuan Guo, Geoff Pleiss, Yu Sun, Kilian Q. Weinberger, 2017, On Calibration of Modern Neural
Networks, arXiv 1706.04599, equation 9, and the uniform term of Jize Zhang, Bhavya Kailkhura,
T. Yong-Jin Han, 2020, Mix-n-Match, arXiv 2003.07329, equation 5:

    p = (1 - w) softmax(z / T) + w / k

with T and w that minimize the log loss on held-out labels. The predicted class never changes. Two
safeguards limit the confidence to what n held-out rows support, and vanish as n grows:

- the label of a row is taken as correct with probability 1 - e and as its strongest rival with
  e = 1 / (n + 2) (Platt 1999, for two classes), so that T stays above 0 when every row is correct;
- w is at least (1 + rows whose label has the logit -inf) / (n + 2), so that n correct out of n
  claim no more than Laplace's (n + 1) / (n + 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels, Logits
from ilk.core.metrics import Probabilities, check_finite, softmax
from ilk.core.part_bounds import FRACTION, POSITIVE, Bounds

MAX_ROWS = 4_000  # an evenly spaced subsample of this size determines T to about 2 %
MAX_LOGITS = 4_000_000  # logits to fit, where that allows more rows than MAX_ROWS
LOG_RANGE = 12.0  # bound on |log((1 / T) / (1 / mean margin))|
MASKED_LOGIT = -1e12  # finite stand-in for -inf, in mean margins

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Calibration:
    """`(1 - w) softmax(logits / T) + w / k`, over the k classes with finite logits.

    Attributes:
        temperature: T > 0, in units of the logits.
        uniform_weight: w in [0, 1].
        n_rows: Number of held-out rows that it was fitted on.
    """

    kind: ClassVar[str] = "calibration"
    bounds: ClassVar[dict[str, Bounds]] = {"temperature": POSITIVE, "uniform_weight": FRACTION}

    temperature: float = 1.0
    uniform_weight: float = 0.0
    n_rows: int = 0

    def to_probabilities(self, logits: Logits) -> Probabilities:
        """Return probabilities `[n, k]` float64 of logits `[n, k]`; rows sum to 1, `-inf` gives 0.

        Raises:
            FloatingPointError: If a row has nan, `+inf`, or only `-inf`.
        """
        z = check_logits(logits)
        is_possible = np.isfinite(z)
        uniform = is_possible / is_possible.sum(1, keepdims=True)
        confident = softmax(z / self.temperature, 1)
        return np.asarray((1 - self.uniform_weight) * confident + self.uniform_weight * uniform)

    @classmethod
    def fit(cls, logits: Logits, y: Labels) -> Calibration:
        """Fit temperature and uniform weight to held-out rows.

        Without rows the temperature is 1 and the uniform weight 0.

        Args:
            logits: Logits of rows that the model was not fitted on, `[n, k]`.
            y: Their classes, `[n]`.

        Raises:
            FloatingPointError: If a row has nan, `+inf`, or only `-inf`.
        """
        n = len(y)
        if not n:
            return cls()
        z, y = check_logits(logits), np.asarray(y)
        n_impossible = int(np.sum(~np.isfinite(z[np.arange(n), y])))
        min_weight = (1 + n_impossible) / (n + 2)
        step = -(-n // max(MAX_ROWS, MAX_LOGITS // z.shape[1]))
        problem = _Problem.from_logits(z[::step], y[::step], smoothing=1 / (n + 2))
        return cls(*problem.minimize_loss(min_weight), n) if problem else cls(1.0, min_weight, n)


def cross_calibrate(logits: Logits, y: Labels, fold: Labels) -> Probabilities:
    """Return calibrated probabilities `[n, k]`, each fold calibrated on the other folds.

    No row influences its own calibration. Rows with `fold < 0` are nan.

    Args:
        logits: Out-of-fold logits, `[n, k]`.
        y: Classes, `[n]`.
        fold: Fold of each row, `[n]`; -1 for rows without logits.
    """
    out = np.full(np.shape(logits), np.nan)
    for f in range(int(fold.max(initial=-1)) + 1):
        is_test, is_other = fold == f, (fold >= 0) & (fold != f)
        out[is_test] = Calibration.fit(logits[is_other], y[is_other]).to_probabilities(
            logits[is_test]
        )
    return out


def check_logits(logits: Logits) -> NDArray[np.float64]:
    """Return logits `[n, k]` in float64 after checking that they allow a prediction.

    Raises:
        FloatingPointError: If a row has nan, `+inf`, or only `-inf`.
    """
    z = check_finite(logits)
    if z.size and not np.isfinite(top := z.max(1)).all():
        n_bad = int(np.sum(~np.isfinite(top)))
        raise FloatingPointError(f"{n_bad} rows of logits are infinite or allow no class")
    return z


@dataclass(frozen=True, eq=False)
class _Problem:
    """Logits of held-out rows in units of their mean margin, minus the maximum of each row."""

    z: NDArray[np.float64]  # [n, k]
    label_logit: Vector  # z of the label, [n]
    rival_logit: Vector  # z of its strongest rival, [n]
    uniform: Vector  # inverse number of classes with finite logits, [n]
    scale: float  # mean margin
    smoothing: float  # e

    @classmethod
    def from_logits(cls, z: NDArray[np.float64], y: Labels, smoothing: float) -> _Problem | None:
        """Return the problem of the rows with finite margin; None if there are none."""
        label_logit = z[np.arange(len(y)), y]
        rivals = z.copy()
        rivals[np.arange(len(y)), y] = -np.inf
        rival_logit = rivals.max(1)
        is_usable = np.isfinite(label_logit) & np.isfinite(rival_logit)
        scale = (
            float(np.mean(np.abs(label_logit - rival_logit)[is_usable])) if is_usable.any() else 0.0
        )
        if scale == 0:
            return None
        top = np.maximum(label_logit, rival_logit)[is_usable]
        uniform = 1 / np.isfinite(z[is_usable]).sum(1)
        z = np.maximum((z[is_usable] - top[:, None]) / scale, MASKED_LOGIT)
        return cls(
            z,
            (label_logit[is_usable] - top) / scale,
            (rival_logit[is_usable] - top) / scale,
            uniform,
            scale,
            smoothing,
        )

    def minimize_loss(self, min_weight: float) -> tuple[float, float]:
        """Return temperature and uniform weight >= `min_weight`: first T alone, then both."""
        from scipy.optimize import minimize  # slow to import, and only fits need it

        start = [self.solve_temperature(), min_weight]
        bounds = [(-LOG_RANGE, LOG_RANGE), (min_weight, 1.0)]
        result = minimize(self.compute_loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
        return self.scale * float(np.exp(-result.x[0])), float(result.x[1])

    def solve_temperature(self) -> float:
        """Return the best log(1 / T) at w = 0: the root of a monotone derivative."""
        from scipy.optimize import brentq

        target = (1 - self.smoothing) * self.label_logit + self.smoothing * self.rival_logit

        def derivative(log_inverse: float) -> float:
            return float(np.mean(self._partition(float(np.exp(log_inverse)))[1] - target))

        if derivative(-LOG_RANGE) >= 0:
            return -LOG_RANGE
        if derivative(LOG_RANGE) <= 0:
            return LOG_RANGE
        return float(brentq(derivative, -LOG_RANGE, LOG_RANGE, xtol=1e-4))

    def compute_loss(self, parameters: Vector) -> tuple[float, Vector]:
        """Return the mean log loss in nats and its gradient, at `parameters` log(1 / T) and w."""
        inverse, uniform_weight = float(np.exp(parameters[0])), float(parameters[1])
        total, mean = self._partition(inverse)
        loss, gradient = 0.0, np.zeros(2)
        for weight, z in (
            (1 - self.smoothing, self.label_logit),
            (self.smoothing, self.rival_logit),
        ):
            confident = np.exp(inverse * z) / total
            p = (1 - uniform_weight) * confident + uniform_weight * self.uniform
            loss -= weight * float(np.mean(np.log(p)))
            gradient[0] -= (
                weight * inverse * float(np.mean((1 - uniform_weight) * confident * (z - mean) / p))
            )
            gradient[1] -= weight * float(np.mean((self.uniform - confident) / p))
        return loss, gradient

    def _partition(self, inverse: float) -> tuple[Vector, Vector]:
        """Return the sum of `exp(z / T)` and the mean of z under the softmax, each `[n]`."""
        weight = np.exp(inverse * self.z)
        total = weight.sum(1)
        return total, np.einsum("nk,nk->n", weight, self.z) / total
