"""Order noise levels: evenly, or by their information about labelled images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, isfinite

from ilk.core.errors import InputError, NoLabels
from ilk.diffusion.errors.weighting import Array

TEMPERATURE_STEPS = (0.5, 1.0, 2.0)  # candidate factors of the inverse temperature


def order_evenly(count: int) -> list[int]:
    """Return a permutation of `range(count)` whose every prefix is evenly spread (van der Corput's
    sequence).
    """
    order: dict[int, None] = {}
    i = 1
    while len(order) < count:
        order[int(int(f"{i:b}"[::-1], 2) / 2 ** i.bit_length() * count)] = None
        i += 1
    return list(order)


def order_greedily(errors: Array, y: NDArray[np.int64], weights: Array) -> list[int]:
    """Order levels greedily by how much each reduces the cross-entropy given those before it.

    The temperature is adapted at every step, near that of the last, since sums grow with the
    levels.

    Args:
        errors: Denoising errors `[n, k, levels]`.
        y: Class indices `[n]`.
        weights: Weights of the levels, `[levels]`.

    Returns:
        Positions of the levels, best first.
    """
    contrasts = (errors - errors.mean(1, keepdims=True)) * weights
    contrasts /= max(float(contrasts.std()), 1e-300)
    total, remaining, order = (
        np.zeros(contrasts.shape[:2]),
        list(range(contrasts.shape[2])),
        list[int](),
    )
    inverse_temperature = 1.0
    while remaining:
        trials = [
            (
                _cross_entropy((total + contrasts[:, :, j]) * inverse_temperature * step, y),
                place,
                step,
            )
            for place, j in enumerate(remaining)
            for step in TEMPERATURE_STEPS
        ]
        _, position, step = min(trials)
        total += contrasts[:, :, remaining[position]]
        order.append(remaining.pop(position))
        inverse_temperature *= step
    return order


def select_labelled(errors: Tensor, y: Tensor, levels: int) -> tuple[Array, NDArray[np.int64]]:
    """Return errors `[n, k, levels]` float64 and class indices `[n]` of the labelled images.

    Raises:
        InputError: Shapes do not match, an error is not finite, or a label is out of range.
        NoLabels: No image has a label.
    """
    if errors.dim() != 3 or errors.shape[::2] != (len(y), levels):
        raise InputError(
            f"errors of shape {tuple(errors.shape)} do not go with {len(y)} labels and {levels} "
            "noise levels; give [images, classes, levels]"
        )
    if len(y) and int(y.max()) >= errors.shape[1]:
        raise InputError(f"label {int(y.max())} is of none of the {errors.shape[1]} classes")
    if not bool(isfinite(errors).all()):
        raise InputError("a denoising error is not finite; the network or an image is damaged")
    has_label = y >= 0
    if not bool(has_label.any()):
        raise NoLabels("learning weights of noise levels requires labelled images; there are none")
    return errors[has_label].double().numpy(), y[has_label].numpy().astype(np.int64)


def _cross_entropy(scores: Array, y: NDArray[np.int64]) -> float:
    logits = scores.min(1, keepdims=True) - scores
    return float((np.log(np.exp(logits).sum(1)) - logits[np.arange(len(y)), y]).mean())
