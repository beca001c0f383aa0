"""Define predictions: `Prediction` for one input, `ScoredBatch` for rows of features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.ordered_classes import Values, predict_median
from ilk.images import Content


@dataclass(frozen=True)
class Prediction:
    """Prediction for one input.

    Attributes:
        path: The path as given; for images in memory `image`, or in a list `image 0`,
            `image 1`, ….
        name: Most probable class; "" if the input could not be read.
        probability: Calibrated probability of `name`, in [0, 1]; nan if it could not be read.
        prediction_set: Conformal set, most probable class first. It contains the true class at the
            target rate. Empty if no class is probable enough.
        is_unknown: Whether the image is out-of-distribution.
        unknown_score: Out-of-distribution score; `is_unknown` compares it with a threshold.
        error: Why the input could not be read, or "".
        median: Of ordered classes, the one with the least expected absolute error; else "".
        expected_absolute_error: Expected absolute error of `median`, in units of the classes;
            None without order.
        image: The image if it was in memory and predicted on its own, for display.
        note: A remark on the image: values outside the value range of the classifier, which are
            clipped, or hardly any contrast.
    """

    path: str
    name: str
    probability: float
    prediction_set: tuple[str, ...]
    is_unknown: bool
    unknown_score: float
    error: str = ""
    median: str = ""
    expected_absolute_error: float | None = None
    image: Content | None = field(default=None, compare=False, repr=False)
    note: str = ""

    def __str__(self) -> str:
        from ilk.report.formatting import escape_text, format_percent

        if self.error:
            return escape_text(f"{self.path}: {self.error}")
        others = [name for name in self.prediction_set if name != self.name]
        text = f"{self.name} {format_percent(self.probability)}"
        text += f", or {', '.join(others)}" if others else ""
        return escape_text(f"{text} (unknown)" if self.is_unknown else text)

    def _repr_html_(self) -> str:
        from ilk.report.notebook import render_prediction

        return render_prediction(
            self.path,
            self.name,
            self.probability,
            self.prediction_set,
            is_unknown=self.is_unknown,
            error=self.error,
            content=self.image,
        )

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
