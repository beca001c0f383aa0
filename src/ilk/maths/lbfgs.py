"""L-BFGS as a generator, so that many optimizations can share one matrix product."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
ValueAndGradient = tuple[float, Vector]  # value and gradient at the point that was yielded
Pair = tuple[Vector, Vector, float]  # step, change of the gradient, and their product, > 0

ARMIJO = 1e-4
HISTORY_SIZE = 10  # gradient differences
RELATIVE_NOISE = 2e-7  # relative precision of a value summed from float32 terms


def minimize_lbfgs(
    start: Vector,
    curvature: Vector,
    tolerance: float,
    *,
    max_iter: int = 1000,
    history_size: int = HISTORY_SIZE,
    pairs: list[Pair] | None = None,
) -> Generator[Vector, ValueAndGradient, Vector]:
    """Yield points, receive (value, gradient) of a convex function, and return the minimum.

    Nocedal 1980, Updating quasi-Newton matrices with limited storage, doi:10.2307/2006193. Stops
    when the decrease predicted by the quadratic model is below `tolerance` times the value, after
    `max_iter` steps, or when the line search fails.

    Args:
        start: Starting point, any shape.
        curvature: Diagonal of the initial Hessian, same shape, > 0.
        tolerance: Relative decrease at which to stop.
        max_iter: Maximum number of steps.
        history_size: Number of stored gradient differences.
        pairs: Gradient differences of a similar function, to begin with; those of this function are
            appended.
    """
    point = start
    value, gradient = yield point
    pairs = [] if pairs is None else pairs
    for _ in range(max_iter):
        direction = -_apply_inverse_hessian(gradient, pairs[-history_size:], curvature)
        slope = _dot(gradient, direction)
        if -slope <= 2 * tolerance * value:
            break
        step, noise = 1.0, RELATIVE_NOISE * abs(value)
        while True:
            candidate = point + step * direction
            new_value, new_gradient = yield candidate
            if new_value <= value + ARMIJO * step * slope + noise or step < 1e-4:
                break
            curvature_term = new_value - value - step * slope  # of the parabola through both values
            step *= min(0.5, max(0.1, -0.5 * step * slope / curvature_term))
        if step < 1e-4:
            break
        step_vector, gradient_change = candidate - point, new_gradient - gradient
        dot = _dot(step_vector, gradient_change)
        if dot > 0:
            pairs.append((step_vector, gradient_change, dot))
        point, value, gradient = candidate, new_value, new_gradient
    return point


def _dot(a: Vector, b: Vector) -> float:
    return float(np.einsum("i,i->", a.ravel(), b.ravel()))


def _apply_inverse_hessian(gradient: Vector, pairs: list[Pair], curvature: Vector) -> Any:
    """Return the approximate inverse Hessian times the gradient, by the two-loop recursion."""
    q, alphas = gradient.copy(), []
    for step_vector, gradient_change, dot in reversed(pairs):
        alpha = _dot(step_vector, q) / dot
        alphas.append(alpha)
        q -= alpha * gradient_change
    q /= curvature
    if pairs:
        _, gradient_change, dot = pairs[-1]
        q *= dot / _dot(gradient_change, gradient_change / curvature)
    for (step_vector, gradient_change, dot), alpha in zip(pairs, reversed(alphas), strict=True):
        q += (alpha - _dot(gradient_change, q) / dot) * step_vector
    return q
