"""Limited-memory BFGS that asks for what it needs: many climb at once, one product serves all."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Point = NDArray[np.float64]
Asked = tuple[float, Point]  # value and gradient at the point that was yielded

ARMIJO = 1e-4
NOISE = 2e-7  # a value summed from float32 terms is no surer than this


def descend(
    start: Point, curvature: Point, tolerance: float, *, most: int = 1000, memory: int = 10
) -> Generator[Point, Asked, Point]:
    """Yield points, be sent (value, gradient) of a convex function, return the lowest point.

    Nocedal 1980, Updating quasi-Newton matrices with limited storage, doi:10.2307/2006193, from
    the positive diagonal `curvature`. It ends when the decrease that its own quadratic model
    still promises is below `tolerance` of the value, after `most` steps, or where steps no
    longer help.
    """
    here = start
    value, gradient = yield here
    pairs: list[tuple[Point, Point, float]] = []
    for _ in range(most):
        direction = -_newton(gradient, pairs[-memory:], curvature)
        slope = _inner(gradient, direction)
        if -slope <= 2 * tolerance * value:
            break
        step, noise = 1.0, NOISE * abs(value)
        while True:
            there = here + step * direction
            new_value, new_gradient = yield there
            if new_value <= value + ARMIJO * step * slope + noise or step < 1e-4:
                break
            rise = new_value - value - step * slope  # of the parabola through both values
            step *= min(0.5, max(0.1, -0.5 * step * slope / rise))
        if step < 1e-4:
            break
        moved, bent = there - here, new_gradient - gradient
        inner = _inner(moved, bent)
        if inner > 0:
            pairs.append((moved, bent, inner))
        here, value, gradient = there, new_value, new_gradient
    return here


def _inner(a: Point, b: Point) -> float:
    return float(np.einsum("i,i->", a.ravel(), b.ravel()))


def _newton(gradient: Point, pairs: list[tuple[Point, Point, float]], curvature: Point) -> Any:
    """The two-loop recursion: the inverse Hessian that `pairs` correct, times the gradient."""
    q, kept = gradient.copy(), []
    for moved, bent, inner in reversed(pairs):
        share = _inner(moved, q) / inner
        kept.append(share)
        q -= share * bent
    q /= curvature
    if pairs:
        _, bent, inner = pairs[-1]
        q *= inner / _inner(bent, bent / curvature)
    for (moved, bent, inner), share in zip(pairs, reversed(kept), strict=True):
        q += (share - _inner(bent, q) / inner) * moved
    return q
