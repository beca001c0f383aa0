"""Which noise level comes first: evenly spread, or by how much each tells of labelled images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, isfinite

from ilk.diffusion.weighting import Array
from ilk.errors import InputError, NoLabels

STEPS = (0.5, 1.0, 2.0)  # factors of the temperature that an order is looked for under


def spread_out(count: int) -> list[int]:
    """0 … count - 1, the middle first and every beginning even (van der Corput's sequence)."""
    order: dict[int, None] = {}
    i = 1
    while len(order) < count:
        order[int(int(f"{i:b}"[::-1], 2) / 2 ** i.bit_length() * count)] = None
        i += 1
    return list(order)


def telling(errors: Array, y: NDArray[np.int64], weights: Array) -> list[int]:
    """Levels by how much each adds to those before it: greedy, by cross-entropy.

    The temperature is free at every step, near the last one's, since sums grow with the levels.
    """
    told = (errors - errors.mean(1, keepdims=True)) * weights
    told /= max(float(told.std()), 1e-300)
    at, rest, order = np.zeros(told.shape[:2]), list(range(told.shape[2])), list[int]()
    heat = 1.0
    while rest:
        tried = [
            (_cross_entropy((at + told[:, :, j]) * heat * step, y), place, step)
            for place, j in enumerate(rest)
            for step in STEPS
        ]
        _, place, step = min(tried)
        at += told[:, :, rest[place]]
        order.append(rest.pop(place))
        heat *= step
    return order


def labelled(errors: Tensor, y: Tensor, levels: int) -> tuple[Array, NDArray[np.int64]]:
    """Errors `[n, k, levels]` float64 and classes `[n]` of the images whose class is known.

    Raises:
        InputError: Shapes do not go together, an error is not finite or a label of no class.
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
    known = y >= 0
    if not bool(known.any()):
        raise NoLabels("noise levels are weighed on labelled images and there are none")
    return errors[known].double().numpy(), y[known].numpy().astype(np.int64)


def _cross_entropy(scores: Array, y: NDArray[np.int64]) -> float:
    logits = scores.min(1, keepdims=True) - scores
    return float((np.log(np.exp(logits).sum(1)) - logits[np.arange(len(y)), y]).mean())
