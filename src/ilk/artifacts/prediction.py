"""Define predictions: `Prediction` for one input, `ScoredBatch` for rows of features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.ordered_classes import Values, predict_median


@dataclass(frozen=True)
class Prediction:
    """Prediction for one input.

    Attributes:
        path: The input as it was given.
        name: Most probable class; "" if the input could not be read.
        probability: Calibrated probability of `name`, in [0, 1]; nan if it could not be read.
        prediction_set: Conformal set, most probable class first. It contains the true class at the
            target rate. Empty if no class is probable enough.
        is_unknown: Whether the image is out-of-distribution.
        unknown_score: Out-of-distribution score; `is_unknown` compares it with a threshold.
        error: Why the input could not be read, or "".
        median: Of ordered classes, the one with the least expected absolute error; else "".
        expected_absolute_error: Expected absolute error of `median`, in units of the classes; nan
            without order.
    """

    path: str
    name: str
    probability: float
    prediction_set: tuple[str, ...]
    is_unknown: bool
    unknown_score: float
    error: str = ""
    median: str = ""
    expected_absolute_error: float = float("nan")

    @classmethod
    def from_error(cls, path: str, error: str) -> Prediction:
        """Return the prediction of an input that could not be read."""
        return cls(path, "", float("nan"), (), False, float("nan"), error)


def summarize_order(
    probabilities: NDArray[np.float64], classes: Sequence[str], values: Values
) -> dict[str, Any]:
    """Return `median` and `expected_absolute_error` of the prediction of one row.

    Args:
        probabilities: `[k]`.
        classes: Class names.
        values: Their values, `[k]`.
    """
    median = int(predict_median(probabilities[None], values)[0])
    error = float(probabilities @ np.abs(values - values[median]))
    return {"median": classes[median], "expected_absolute_error": error}


@dataclass(frozen=True, eq=False)
class ScoredBatch:
    """Predictions for `n` rows of features.

    Attributes:
        probabilities: `[n, k]` float64, rows sum to 1.
        prediction_sets: Whether each class is in the conformal set, `[n, k]`.
        is_unknown: Whether each row is out-of-distribution, `[n]`.
        unknown_score: Out-of-distribution scores, `[n]` float64.
    """

    probabilities: NDArray[np.float64]
    prediction_sets: NDArray[np.bool_]
    is_unknown: NDArray[np.bool_]
    unknown_score: NDArray[np.float64]
