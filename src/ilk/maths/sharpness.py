"""How sharp scores must be for their softmax to be a probability."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from ilk.data import Labels
from ilk.metrics import log_softmax

ROWS = 5000  # enough rows to settle one number


def sharpness(scores: Any, y: Labels, low: float = 1e-3, high: float = 1e5) -> float:
    """The factor in [low, high] that gives `softmax(factor * scores [n, k])` the least log loss.

    The scores must come from models that did not learn from the row they score.
    """
    step = -(-len(y) // ROWS)
    scores, y = np.asarray(scores[::step], np.float64), y[::step]
    scores = scores - scores.max(1, keepdims=True)
    rows = np.arange(len(y))

    def loss(log_factor: float) -> float:
        return -float(log_softmax(np.exp(log_factor) * scores, axis=1)[rows, y].mean())

    bounds = (float(np.log(low)), float(np.log(high)))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))
