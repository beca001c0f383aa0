"""Formulas that several parts share, as in `ilk.core.linear_models` and SciPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.export.graphs.graph import Expression


def apply_affine(x: Expression, weight: NDArray[Any], bias: NDArray[Any]) -> Expression:
    """Return `x @ weight.T + bias`, `[n, k]` float64."""
    g = x.graph
    return x.cast(np.float64) @ g.weight(weight).transpose(1, 0) + g.weight(bias)


def normalize_rows(x: Expression) -> Expression:
    """Return rows `[n, d]` of unit length, float64; rows of zeros stay zeros."""
    x = x.cast(np.float64)
    length = (x * x).reduce("Sum", 1).map("Sqrt")
    return x / (length > 0.0).select(length, 1.0)


def apply_hidden_layer(
    x: Expression,
    centre: NDArray[Any],
    scale: NDArray[Any],
    weight: NDArray[Any],
    bias: NDArray[Any],
) -> Expression:
    """Return the rectified units `[n, h]` of standardized features."""
    g = x.graph
    z = (x.cast(np.float64) - g.weight(centre)) / g.weight(scale)
    return apply_affine(z, weight, bias).maximum(0.0)


def log_sum_exp(z: Expression, axis: int = 1) -> Expression:
    """Return the log of the sum of exponentials along an axis that is kept; `-inf` counts 0."""
    top = z.reduce("Max", axis)
    return (z - top).map("Exp").reduce("Sum", axis).map("Log") + top


def softmax(z: Expression, axis: int = 1) -> Expression:
    """Return the softmax along an axis; `-inf` becomes 0."""
    e = (z - z.reduce("Max", axis)).map("Exp")
    return e / e.reduce("Sum", axis)


def log_softmax(z: Expression, axis: int = 1) -> Expression:
    """Return the log of the softmax along an axis."""
    return z - log_sum_exp(z, axis)
