"""The answer of a classifier to an image as one number, for any head.

A classifier of one label per image has `model.logits` and `to_probabilities`; one of several labels
has `model.margins`. Nothing else is asked of either, so closed-form heads, ensembles, neural heads
and diffusion scores are alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Features
from ilk.core.linear_models import Linear
from ilk.core.metrics import softmax

Vector = NDArray[np.float64]
STEP = 1e-3  # of a finite difference, relative to the root mean square of the features
CHUNK_VALUES = 4_000_000  # feature values per call of a head


@dataclass(frozen=True, eq=False)
class Answer:
    """The probability of a class, or its contrast with another one.

    Attributes:
        classifier: A `Classifier` or `MultiLabelClassifier`.
        target: Index of the class.
        against: Index of the class that it is contrasted with; -1 for the calibrated probability.
    """

    classifier: Any
    target: int
    against: int = -1

    @property
    def has_labels(self) -> bool:
        """Whether an image may have several labels."""
        return hasattr(self.classifier.model, "margins")

    def compute_logits(self, x: Features) -> NDArray[np.float64]:
        """Return logits, or margins of labels, `[n, k]` of features `[n, d]`.

        A row is scored alone by a model whose scores depend on the other rows of a batch, as in
        `predict` of one image.
        """
        model = self.classifier.model
        score = model.margins if self.has_labels else model.logits
        z = np.asarray(score(x), np.float64)
        if len(x) > 1:
            alone = np.asarray(score(x[:1]), np.float64)
            if not np.allclose(alone, z[:1], rtol=1e-5, atol=1e-6):
                z = np.concatenate([alone, *(score(x[i : i + 1]) for i in range(1, len(x)))])
        return z

    def compute_probabilities(self, x: Features) -> NDArray[np.float64]:
        """Return calibrated probabilities `[n, k]` of features `[n, d]`."""
        z = self.compute_logits(x)
        if self.has_labels:
            return np.asarray(self.classifier.calibration.to_probabilities(z))
        return np.asarray(self.classifier.to_probabilities(z))

    def score(self, x: Features) -> Vector:
        """Return the answer in [0, 1], `[n]`.

        Without a contrast it is the calibrated probability `p_target`; with one it is
        `p_target / (p_target + p_against)`, the probability if only these two were possible.
        """
        p = self.compute_probabilities(x)
        if self.against < 0:
            return np.asarray(p[:, self.target])
        pair = p[:, self.target] + p[:, self.against]
        half = np.full(len(p), 0.5)
        return np.asarray(np.divide(p[:, self.target], pair, out=half, where=pair > 0))

    def log_odds(self, x: Features) -> Vector:
        """Return the log-odds of the answer, `[n]`, before the uniform part of the calibration.

        That part keeps probabilities away from 0 and 1 and would take the gradient of a confident
        answer; without it the order is the same and the gradient stays.
        """
        z = self._scale(self.compute_logits(x))
        if self.has_labels or self.against >= 0:
            other = z[:, self.against] if self.against >= 0 else 0.0
            return np.asarray(z[:, self.target] - other)
        others = np.delete(z, self.target, axis=1)
        top = others.max(1, initial=-np.inf)
        safe_top = np.where(np.isfinite(top), top, 0.0)
        total = np.exp(others - safe_top[:, None]).sum(1)
        with np.errstate(divide="ignore"):
            return np.asarray(z[:, self.target] - safe_top - np.log(total))

    def compute_gradient(self, x: Features) -> Vector:
        """Return the gradient `[d]` of the log-odds at features `[d]`.

        Exact for linear heads; otherwise central differences, two scores per feature, which is
        cheap because no image passes through the encoder.
        """
        model = self.classifier.model
        if isinstance(model, Linear):
            weight = np.asarray(model.weight, np.float64) / self._temperature
            return np.asarray(self._differentiate_logits(x) @ weight)
        return compute_central_differences(self.log_odds, x)

    def compute_scaled_logits(self, x: Features) -> NDArray[np.float64]:
        """Return logits over the temperature, `[n, k]`, whose softmax is almost the answer.

        What is left out is the uniform part of the calibration.
        """
        return self._scale(self.compute_logits(x))

    def scale_weight(self, model: Linear) -> NDArray[np.float64]:
        """Return the derivative `[k, d]` of the scaled logits of a linear model."""
        return np.asarray(model.weight, np.float64) / self._temperature

    @property
    def _temperature(self) -> float:
        return float(getattr(self.classifier.calibration, "temperature", 1.0))

    def _scale(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return logits over the temperature, and moved by the class priors if there are any."""
        if self.has_labels:
            return logits
        priors = getattr(self.classifier, "class_priors", None)
        shift = np.log(priors.ratio) if priors is not None else 0.0
        return np.asarray(logits / self._temperature + shift)

    def _differentiate_logits(self, x: Features) -> Vector:
        """Return the gradient `[k]` of the log-odds by the scaled logits at features `[d]`."""
        z = self._scale(self.compute_logits(np.asarray(x)[None]))[0]
        gradient = np.zeros(len(z))
        if self.against >= 0:
            gradient[self.against] = -1.0
        else:
            others = np.where(np.arange(len(z)) == self.target, -np.inf, z)
            if np.isfinite(others).any():
                gradient -= softmax(others)
        gradient[self.target] = 1.0
        return gradient


def compute_central_differences(function: Callable[[Features], Vector], x: Features) -> Vector:
    """Return the gradient `[d]` of a function of rows at `x [d]`, two values per feature.

    Args:
        function: Rows `[n, d]` float32 -> values `[n]`.
        x: The row.
    """
    x = np.asarray(x, np.float64)
    step = STEP * max(float(np.sqrt(np.mean(x**2))), 1e-6)
    gradient = np.zeros(len(x))
    size = max(1, CHUNK_VALUES // (2 * len(x)))
    for start in range(0, len(x), size):
        columns = np.arange(start, min(start + size, len(x)))
        rows = np.repeat(x[None].astype(np.float32), 2 * len(columns), axis=0)
        i = np.arange(len(columns))
        rows[i, columns] += np.float32(step)
        rows[len(columns) + i, columns] -= np.float32(step)
        width = rows[i, columns].astype(np.float64) - rows[len(columns) + i, columns]
        value = function(rows)
        gradient[columns] = (value[: len(columns)] - value[len(columns) :]) / width
    return gradient
