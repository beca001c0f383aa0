"""The score of a pair: logistic regression in which agreement never counts against a pair."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ilk.deduplication.judge import SHARE, Measures

PENALTY = 1e-2  # of the squared weights, against the mean loss; measures are standardized

Vector = NDArray[np.float64]


def fit_score(copies: Measures, different: Measures) -> tuple[Vector, float]:
    """Return weights `[5]` and bias of the logarithm of the odds, both kinds being equally likely.

    The weights of correlations and of features are at least 0; that of the share has any sign.

    Args:
        copies: Standardized measures of pairs of the same picture, `[n, 5]`.
        different: Those of different pictures, `[m, 5]`.
    """
    from scipy.optimize import minimize

    x = np.concatenate([copies, different])
    sign = np.repeat([1.0, -1.0], [len(copies), len(different)])
    amount = np.repeat([0.5 / len(copies), 0.5 / len(different)], [len(copies), len(different)])

    def compute_loss(parameters: Vector) -> tuple[float, Vector]:
        weight, bias = parameters[:-1], parameters[-1]
        margin = sign * (x @ weight + bias)
        slope = -amount * sign / (1 + np.exp(np.clip(margin, -500, 500)))
        loss = float(amount @ np.logaddexp(0, -margin) + PENALTY * weight @ weight / 2)
        return loss, np.append(x.T @ slope + PENALTY * weight, slope.sum())

    d = x.shape[1]
    bounds = [(None, None) if j == SHARE else (0, None) for j in range(d)] + [(None, None)]
    found = minimize(compute_loss, np.zeros(d + 1), jac=True, bounds=bounds, method="L-BFGS-B").x
    return np.asarray(found[:-1]), float(found[-1])
