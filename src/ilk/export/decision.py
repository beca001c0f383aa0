"""From logits to the answer: calibrated probabilities, prediction set, unknown score."""

from __future__ import annotations

import numpy as np

from ilk.export.graphs.graph import Expression
from ilk.export.parts.mixtures import calibrate
from ilk.trust.calibration import Calibration
from ilk.trust.class_priors import ClassPriors
from ilk.trust.column_detector import ColumnDetector
from ilk.trust.conformal import (
    NO_TIE_LIMIT,
    TIE_DECIMALS,
    TIE_PROBABILITY,
    ConformalPredictor,
)
from ilk.trust.out_of_distribution import OutOfDistributionDetector


def write_probabilities(
    z: Expression, calibration: Calibration, priors: ClassPriors | None
) -> Expression:
    """Return calibrated probabilities `[n, k]` float64 of logits `[n, k]`, under the priors."""
    p = calibrate(z, calibration.temperature, calibration.uniform_weight)
    if priors is None:
        return p
    p = p * z.graph.constant(np.asarray(priors.ratio, np.float64))
    return p / p.reduce("Sum", 1)


def write_score(x: Expression, detector: OutOfDistributionDetector) -> Expression:
    """Return the out-of-distribution score `[n]` float64 of features `[n, d]`."""
    g = x.graph
    if isinstance(detector, ColumnDetector):
        x = x.slice(detector.first, detector.first + len(detector.centre), 1)
    d, r = detector.axes.shape
    if not d:  # a detector without columns
        return g.constant(np.zeros(1)) + x.reduce("Sum", 1, keepdims=False).cast(np.float64)
    centred = x.cast(np.float64) - g.weight(detector.centre)
    projected = centred @ g.weight(detector.axes)
    q = projected / g.weight(detector.std)
    means = np.asarray(detector.means, np.float64)
    to_means = q @ g.weight(detector.means).transpose(1, 0) * -2.0
    nearest = (to_means + g.constant(np.einsum("mr,mr->m", means, means))).reduce("Min", 1)
    score = (nearest + (q * q).reduce("Sum", 1)).maximum(0.0)
    if r < d:
        rest = (centred * centred).reduce("Sum", 1) - (projected * projected).reduce("Sum", 1)
        score = score + rest.maximum(0.0) / detector.residual_variance
    return score.reshape(-1)


def write_set(p: Expression, score: Expression, conformal: ConformalPredictor) -> Expression:
    """Return which classes the prediction sets contain, `[n, k]` bool."""
    factor = 10.0**TIE_DECIMALS
    rounded = (p * factor).map("Round")
    threshold = float(np.round(conformal.threshold, TIE_DECIMALS) * factor)
    threshold = float(np.rint(threshold)) if conformal.threshold else 0.0
    if conformal.tie_threshold == NO_TIE_LIMIT:
        return rounded >= threshold
    rounded = rounded.minimum(TIE_PROBABILITY * factor)
    within_tie = (score <= float(conformal.tie_threshold)).reshape(-1, 1)
    return (rounded > threshold) | (rounded.equals(threshold) & within_tie)
