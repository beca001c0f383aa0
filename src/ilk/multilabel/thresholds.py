"""The threshold per label with the greatest F1 on held-out probabilities.

F1 = 2 TP / (2 TP + FP + FN) = 2 TP / (predicted + positive)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.core.part_bounds import FRACTION, Bounds
from ilk.maths.iterative_stratification import Targets

DEFAULT_THRESHOLD = 0.5  # of a label without positive rows

Probabilities = NDArray[np.float64]  # [n, k], nan where there is none


@dataclass(frozen=True, eq=False)
class LabelThresholds:
    """The probability from which each label applies, `[k]`, each in [0, 1]."""

    kind: ClassVar[str] = "label_thresholds"
    shapes: ClassVar[dict[str, str]] = {"values": "k"}
    bounds: ClassVar[dict[str, Bounds]] = {"values": FRACTION}

    values: NDArray[np.float64]

    def predict(self, probabilities: Probabilities) -> Targets:
        """Return which labels apply, `[n, k]`, for probabilities `[n, k]`."""
        return np.asarray(probabilities >= self.values)


def fit_thresholds(targets: Targets, probabilities: Probabilities) -> NDArray[np.float64]:
    """Return the threshold of each label, `[k]`; a label applies at or above it.

    It lies midway between the two probabilities that it separates.

    Args:
        targets: Whether each label applies, `[n, k]`.
        probabilities: Held-out probabilities, `[n, k]`.
    """
    return np.array(
        [
            _fit_threshold(t[rows], p[rows])
            for t, p in zip(targets.T, probabilities.T, strict=True)
            for rows in [np.isfinite(p)]
        ]
    )


def _fit_threshold(is_positive: NDArray[np.bool_], p: NDArray[np.float64]) -> float:
    if not is_positive.any():
        return DEFAULT_THRESHOLD
    order = np.argsort(-p, kind="stable")
    p, hits = p[order], np.cumsum(is_positive[order])
    f1 = 2 * hits / (np.arange(1, len(p) + 1) + hits[-1])
    is_last = np.append(np.diff(p) != 0, True)  # a threshold separates different values only
    best = int(np.where(is_last, f1, -1).argmax())
    below = p[best + 1] if best + 1 < len(p) else 0.0
    return float((p[best] + below) / 2)


def cross_predict(targets: Targets, probabilities: Probabilities, fold: Labels) -> Targets:
    """Return which labels are predicted, `[n, k]`, with thresholds fitted to the other folds.

    Args:
        targets: Whether each label applies, `[n, k]`.
        probabilities: Held-out probabilities, `[n, k]`.
        fold: Fold of each row, `[n]`.
    """
    out = np.zeros(targets.shape, bool)
    for f in range(int(fold.max(initial=-1)) + 1):
        is_test = fold == f
        thresholds = fit_thresholds(targets[~is_test], probabilities[~is_test])
        out[is_test] = probabilities[is_test] >= thresholds
    return out
