"""Classification metrics with confidence intervals."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels, Logits

__all__ = [
    "Interval",
    "Scores",
    "accuracy",
    "calibration_error",
    "log_loss",
    "log_softmax",
    "macro_accuracy",
    "reliability_curve",
    "score",
    "softmax",
    "wilson_interval",
]

Probabilities = NDArray[np.float64]  # [n, k], rows sum to 1


def log_softmax(logits: Any, axis: int = -1) -> NDArray[Any]:
    """Return `log(exp(logits) / sum(exp(logits)))` along an axis of logits `[..., k]`."""
    z = np.asarray(logits)
    shifted = z - z.max(axis, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis, keepdims=True)))


def softmax(logits: Any, axis: int = -1) -> NDArray[Any]:
    """Return `exp(logits) / sum(exp(logits))` along an axis of logits `[..., k]`."""
    z = np.asarray(logits)
    exponentials = np.exp(z - z.max(axis, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis, keepdims=True))


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval.

    Attributes:
        value: The estimate.
        low: Lower bound.
        high: Upper bound.
        level: Confidence level, in (0, 1).
    """

    value: float
    low: float
    high: float
    level: float = 0.95

    def __str__(self) -> str:
        return f"{self:.3f}"

    def __format__(self, spec: str) -> str:
        """Return the estimate and the bounds, each in the format `spec`, such as `+.3f`."""
        return "{0:{3}} [{1:{3}}, {2:{3}}]".format(self.value, self.low, self.high, spec or ".3f")

    def to_json(self) -> dict[str, float | None]:
        """Return the attributes as plain values, None for a bound that is not finite."""
        values = {"value": self.value, "low": self.low, "high": self.high, "level": self.level}
        return {name: value if isfinite(value) else None for name, value in values.items()}


@dataclass(frozen=True)
class Scores:
    """Metrics of predicted probabilities on `n` labelled rows.

    `mean_absolute_error` is that of the median class, in units of ordered classes; None for others.
    """

    n: int
    accuracy: Interval
    macro_accuracy: float
    log_loss: float
    calibration_error: float
    mean_absolute_error: float | None = None


def wilson_interval(successes: float, n: float, level: float = 0.95) -> Interval:
    """Return the score interval of a proportion (Wilson 1927), valid for small n and near 0 or 1.

    Args:
        successes: Number of successes, 0 to n.
        n: Number of trials; 0 gives the interval [0, 1] around nan.
        level: Confidence level, in (0, 1).
    """
    if n < 1:
        return Interval(float("nan"), 0.0, 1.0, level)
    z, p = NormalDist().inv_cdf(0.5 + level / 2), successes / n
    midpoint = (p + z * z / (2 * n)) / (1 + z * z / n)
    half_width = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return Interval(
        p, max(0.0, min(p, midpoint - half_width)), min(1.0, max(p, midpoint + half_width)), level
    )


def accuracy(y: Labels, predictions: Labels) -> Interval:
    """Return the accuracy of `predictions [n]` for labels `y [n]`, with its Wilson interval."""
    return wilson_interval(float(np.sum(y == predictions)), len(y))


def macro_accuracy(y: Labels, predictions: Labels) -> float:
    """Return the balanced accuracy of `predictions [n]`: mean recall of the classes in `y [n]`."""
    return float(np.mean([np.mean(predictions[y == c] == c) for c in np.unique(y)]))


def log_loss(y: Labels, probabilities: Probabilities) -> float:
    """Return the mean of `-log p[true class]` in nats, with probabilities clipped at 1e-15.

    Args:
        y: Labels, `[n]`.
        probabilities: `[n, k]`.
    """
    return float(-np.mean(np.log(np.clip(probabilities[np.arange(len(y)), y], 1e-15, 1.0))))


def reliability_curve(
    y: Labels, probabilities: Probabilities, bins: int = 15
) -> list[tuple[float, float, int]]:
    """Return mean confidence, accuracy and number of rows in each non-empty bin.

    Args:
        y: Labels, `[n]`.
        probabilities: `[n, k]`.
        bins: Number of bins of equal width over [0, 1].
    """
    return _bin_confidences(probabilities.max(1), probabilities.argmax(1) == y, bins)


def _bin_confidences(
    confidence: NDArray[Any], is_correct: NDArray[np.bool_], bins: int = 15
) -> list[tuple[float, float, int]]:
    bin_index = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        (
            float(confidence[bin_index == b].mean()),
            float(is_correct[bin_index == b].mean()),
            int(np.sum(bin_index == b)),
        )
        for b in range(bins)
        if np.any(bin_index == b)
    ]


def calibration_error(y: Labels, probabilities: Probabilities, bins: int = 15) -> float:
    """Return the expected calibration error of the top class (Guo et al. 2017, equation 3).

    Args:
        y: Labels, `[n]`.
        probabilities: `[n, k]`.
        bins: Number of bins of equal width over [0, 1].
    """
    return _average_gaps(reliability_curve(y, probabilities, bins))


def _average_gaps(bin_rows: list[tuple[float, float, int]]) -> float:
    """Return the mean difference of confidence and accuracy over the rows of bins."""
    total = sum(n for *_, n in bin_rows)
    gaps = (n * abs(confidence - accurate) for confidence, accurate, n in bin_rows)
    return sum(gaps) / max(1, total)


def score(y: Labels, probabilities: Probabilities) -> Scores:
    """Return all metrics of `probabilities [n, k]` for labels `y [n]`, all known.

    Raises:
        ValueError: If there is no row.
    """
    own = probabilities[np.arange(len(y)), y]
    return score_predictions(y, probabilities.argmax(1), own, probabilities.max(1, initial=0.0))


def score_predictions(
    y: Labels, predictions: Labels, own: NDArray[Any], confidence: NDArray[Any]
) -> Scores:
    """Return all metrics of what `score` reads of the probabilities of each row.

    Args:
        y: Labels, `[n]`, all known.
        predictions: Most probable class, `[n]`.
        own: Probability of the label, `[n]`.
        confidence: Probability of the most probable class, `[n]`.

    Raises:
        ValueError: If there is no row.
    """
    if not len(y):
        raise ValueError("there is no labelled row to score")
    return Scores(
        len(y),
        accuracy(y, predictions),
        macro_accuracy(y, predictions),
        float(-np.mean(np.log(np.clip(own, 1e-15, 1.0)))),
        _average_gaps(_bin_confidences(confidence, predictions == y)),
    )


def check_finite(logits: Logits) -> NDArray[Any]:
    """Return logits `[n, k]` in float64; `-inf` (a class without rows) is allowed.

    Raises:
        FloatingPointError: If any is nan.
    """
    out = np.asarray(logits, np.float64)
    if np.isnan(out).any():
        raise FloatingPointError(f"{int(np.isnan(out).any(1).sum())} rows of logits are nan")
    return out
