"""Figures of merit, each with the interval it deserves."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, ndtri, softmax

from ilk.data import Labels, Logits

__all__ = [
    "Interval",
    "Scores",
    "accuracy",
    "calibration_error",
    "log_loss",
    "log_softmax",
    "macro_accuracy",
    "reliability",
    "score",
    "softmax",
    "wilson",
]

Probabilities = NDArray[np.float64]  # [n, k], rows sum to 1


@dataclass(frozen=True)
class Interval:
    """A figure and the range that holds its true value at the stated level."""

    value: float
    low: float
    high: float
    level: float = 0.95

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Scores:
    """How well probabilities fit labels, on `n` items."""

    n: int
    accuracy: Interval
    macro_accuracy: float
    log_loss: float
    calibration_error: float


def wilson(successes: float, n: int, level: float = 0.95) -> Interval:
    """Score interval of a proportion (Wilson 1927): sound for small n and near 0 or 1."""
    if n < 1:
        return Interval(float("nan"), 0.0, 1.0, level)
    z, p = float(ndtri(0.5 + level / 2)), successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return Interval(p, max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half)), level)


def accuracy(y: Labels, answer: Labels) -> Interval:
    """Share of right answers with its Wilson interval."""
    return wilson(float(np.sum(y == answer)), len(y))


def macro_accuracy(y: Labels, answer: Labels) -> float:
    """Mean over the classes present in `y` of the share answered rightly (balanced accuracy)."""
    return float(np.mean([np.mean(answer[y == c] == c) for c in np.unique(y)]))


def log_loss(y: Labels, probabilities: Probabilities) -> float:
    """Mean of `-log p[true class]` in nats; a zero probability is read as 1e-15."""
    return float(-np.mean(np.log(np.clip(probabilities[np.arange(len(y)), y], 1e-15, 1.0))))


def reliability(
    y: Labels, probabilities: Probabilities, bins: int = 15
) -> list[tuple[float, float, int]]:
    """Mean stated confidence, share right, and count in each of `bins` equal-width bins."""
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == y
    at = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        (float(confidence[at == b].mean()), float(right[at == b].mean()), int(np.sum(at == b)))
        for b in range(bins)
        if np.any(at == b)
    ]


def calibration_error(y: Labels, probabilities: Probabilities, bins: int = 15) -> float:
    """Expected calibration error of the top answer (Guo et al. 2017, equation 3)."""
    parts = reliability(y, probabilities, bins)
    return sum(n * abs(stated - right) for stated, right, n in parts) / max(1, len(y))


def score(y: Labels, probabilities: Probabilities) -> Scores:
    """All of the above for labelled items (`y >= 0`).

    Raises:
        ValueError: There is none.
    """
    if not len(y):
        raise ValueError("there is no labelled row to score")
    answer = probabilities.argmax(1)
    return Scores(
        len(y),
        accuracy(y, answer),
        macro_accuracy(y, answer),
        log_loss(y, probabilities),
        calibration_error(y, probabilities),
    )


def finite(logits: Logits) -> NDArray[Any]:
    """Logits in float64 with `-inf` (a class never seen) kept and `nan` refused."""
    out = np.asarray(logits, np.float64)
    if np.isnan(out).any():
        raise FloatingPointError(f"{int(np.isnan(out).any(1).sum())} rows of logits are nan")
    return out
