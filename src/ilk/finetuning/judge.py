"""How good features are: a head fitted to some rows answers others, for each network alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Data, Labels
from ilk.core.linear_models import Linear
from ilk.core.metrics import Interval, log_softmax
from ilk.maths.clusters import compute_interval
from ilk.maths.inverse_temperature import fit_inverse_temperature
from ilk.maths.logistic_regression import fit_regression

Vector = NDArray[np.float64]
MAX_FEATURE = 1e15  # beyond, a head cannot be fitted


@dataclass(frozen=True, eq=False)
class Answers:
    """What a head says of images that it was not fitted to.

    Attributes:
        is_correct: Whether each answer is right, `[n]`.
        log_probability: Log probability of each true class, `[n]`, at the temperature that suits
            all of them best: what a calibrated head says.
    """

    is_correct: NDArray[np.bool_]
    log_probability: Vector

    @property
    def score(self) -> float:
        """Mean log probability of the true classes: higher is better, and ties are rare."""
        return float(self.log_probability.mean())


def judge_logits(logits: NDArray[np.floating], y: Labels) -> Answers:
    """Return answers from logits `[n, k]` for images of classes `y [n]`."""
    scaled = fit_inverse_temperature(logits, y) * np.asarray(logits, np.float64)
    log_p = log_softmax(scaled, axis=1)[np.arange(len(y)), y]
    return Answers(np.asarray(logits).argmax(1) == y, np.asarray(log_p))


def is_usable(*parts: NDArray[np.float32]) -> bool:
    """Return whether a head can be fitted to features `[n, d]`: all finite, and none too large."""
    return all(bool((np.abs(x) <= MAX_FEATURE).all()) for x in parts)


def fit_head(x: NDArray[np.float32], y: Labels, classes: tuple[str, ...], groups: Labels) -> Linear:
    """Return logistic regression of features `[n, d]`, `y [n]`, its penalty by cross-validation."""
    data = Data(np.array(x, np.float32), y, classes, group=groups)
    result = fit_regression(data)
    bias = np.where(np.isfinite(result.bias), result.bias, -1e4)
    return Linear.from_centred(result.centre, result.weight, bias)


def measure_accuracy(answers: Answers, groups: Labels) -> Interval:
    """Return the accuracy with its 95 % interval; groups are those of the images, `[n]`."""
    return compute_interval(answers.is_correct, groups)
