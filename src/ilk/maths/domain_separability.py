"""How well a linear rule separates two domains: what is left to hide after domain adaptation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.errors import InputError


def domain_separability(source: Any, target: Any, seed: int = 0) -> float:
    """Return the balanced accuracy of a linear domain classifier, in [0, 1]; 0.5 is chance.

    The classifier is Fisher's discriminant, fitted to a random half of the rows and evaluated on
    the other half. The paper's proxy A-distance follows from it: see `proxy_a_distance`.

    Args:
        source: Features of the source domain, `[n, d]`.
        target: Features of the target domain, `[m, d]`.
        seed: Seed of the split.

    Raises:
        InputError: A domain has fewer than 4 rows.
    """
    if min(len(source), len(target)) < 4:
        raise InputError(
            f"{len(source)} and {len(target)} rows are too few to tell domains apart; give 4 each"
        )
    rng = np.random.default_rng(seed)
    sides = [np.asarray(side, np.float64)[rng.permutation(len(side))] for side in (source, target)]
    train_halves = [side[: len(side) // 2] for side in sides]
    weight, bias = _fit_fisher(*train_halves)
    accuracies = [
        np.mean((side[len(side) // 2 :] @ weight + bias > 0) == is_target)
        for side, is_target in zip(sides, (False, True), strict=True)
    ]
    return float(np.mean(accuracies))


def proxy_a_distance(accuracy: float) -> float:
    """Return the proxy A-distance `2 (1 - 2 error)`: 0 at chance or below, 2 at accuracy 1."""
    return max(0.0, 2 * (2 * accuracy - 1))


def _fit_fisher(
    a: NDArray[np.float64], b: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Weight `[d]` and bias of Fisher's discriminant, positive on the side of `b`, with a ridge."""
    centred = np.concatenate([a - a.mean(0), b - b.mean(0)])
    covariance = centred.T @ centred / len(centred)
    ridge = 1e-3 * np.trace(covariance) / len(covariance) + 1e-12
    weight = np.linalg.solve(covariance + ridge * np.eye(len(covariance)), b.mean(0) - a.mean(0))
    return weight, float(-weight @ (a.mean(0) + b.mean(0)) / 2)
