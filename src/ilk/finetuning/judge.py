"""How good features are: a head fitted to some rows answers others, for each network alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Data, Labels
from ilk.core.linear_models import Linear
from ilk.core.metrics import Interval, softmax
from ilk.maths.clusters import compute_interval
from ilk.maths.folds import assign_folds
from ilk.maths.inverse_temperature import fit_inverse_temperature
from ilk.maths.logistic_regression import fit_regression

Vector = NDArray[np.float64]
N_FOLDS = 5
MAX_FEATURE = 1e15  # beyond, a head cannot be fitted


@dataclass(frozen=True, eq=False)
class Answers:
    """What a head says of images that it was not fitted to.

    Attributes:
        is_correct: Whether each answer is right, `[n]`.
        log_probability: Log probability of each true class, `[n]`, calibrated on the other images:
            at the temperature that suits these best, and no surer than their number allows.
    """

    is_correct: NDArray[np.bool_]
    log_probability: Vector

    @property
    def score(self) -> float:
        """Mean log probability of the true classes: higher is better, and ties are rare."""
        return float(self.log_probability.mean())


def judge_logits(logits: NDArray[np.floating], y: Labels, groups: Labels | None = None) -> Answers:
    """Return answers from logits, each calibrated on the images of the other folds.

    As in `ilk.trust.calibration`, the label of each of m images counts as its strongest rival with
    probability 1 / (m + 2), and a uniform part of 1 / (m + 2) is added: a few images that are all
    answered right do not make an answer certain.

    Args:
        logits: `[n, k]`.
        y: Classes, `[n]`.
        groups: Group of each image, `[n]`; -1 is a group of its own, and None makes every image
            one.
    """
    z = np.asarray(logits, np.float64)
    fold, log_p = assign_folds(y, N_FOLDS, 0, groups), np.zeros(len(y))
    for f in range(N_FOLDS):
        is_other, judged = fold != f, np.flatnonzero(fold == f)
        factor, share = _fit_calibration(z[is_other], y[is_other])
        p = softmax(factor * z[judged], 1)[np.arange(len(judged)), y[judged]]
        log_p[judged] = np.log((1 - share) * p + share / z.shape[1])
    return Answers(z.argmax(1) == y, log_p)


def _fit_calibration(z: Vector, y: Labels) -> tuple[float, float]:
    """Return inverse temperature and uniform part that m images support: `z [m, k]`, `y [m]`."""
    share = 1 / (len(y) + 2)
    if not len(y):
        return 1.0, share
    rivals = z.copy()
    rivals[np.arange(len(y)), y] = -np.inf
    both = np.concatenate([y, rivals.argmax(1)])
    weight = np.repeat([1 - share, share], len(y))
    return fit_inverse_temperature(np.concatenate([z, z]), both, weight=weight), share


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
