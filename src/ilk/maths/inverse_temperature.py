"""The inverse temperature under which the softmax of scores has the least log loss."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.core.metrics import log_softmax

MAX_ROWS = 5000  # enough rows to estimate one number


def select_rows(n: int) -> slice:
    """Return which of `n` rows `fit_inverse_temperature` uses: at most `MAX_ROWS`, spread evenly.

    What it is given of rows selected this way gives the same result as all of them.
    """
    return slice(None, None, max(1, -(-n // MAX_ROWS)))


def fit_inverse_temperature(
    scores: Any,
    y: Labels,
    low: float = 1e-3,
    high: float = 1e5,
    *,
    weight: NDArray[np.float64] | None = None,
) -> float:
    """Return the factor in [low, high] that minimizes the log loss of `softmax(factor * scores)`.

    The scores must come from models that were not trained on the row they score.

    Args:
        scores: `[n, k]`.
        y: Class of each row, `[n]`.
        low: Lower bound, > 0.
        high: Upper bound.
        weight: How many times each row counts, `[n]`; None counts each once.
    """
    from scipy.optimize import minimize_scalar  # slow to import, and only fits need it

    kept = select_rows(len(y))
    scores, y = np.asarray(scores[kept], np.float64), y[kept]
    weight = None if weight is None else weight[kept]
    scores = scores - scores.max(1, keepdims=True)
    rows = np.arange(len(y))

    def loss(log_factor: float) -> float:
        log_p = log_softmax(np.exp(log_factor) * scores, axis=1)[rows, y]
        return -float(log_p.mean() if weight is None else np.average(log_p, weights=weight))

    bounds = (float(np.log(low)), float(np.log(high)))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))
