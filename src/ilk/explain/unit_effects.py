"""Effects of units and paths of a convolutional network on a score; see `ilk.explain.causal_paths`.

An effect is by how much the score falls when what a unit gives, or what it adds to another one, is
replaced by its mean over reference images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Features
from ilk.explain.interventions import InterventionRunner, Layer

if TYPE_CHECKING:
    from torch import Tensor

Score = Callable[[Features], NDArray[Any]]
"""Outputs of the network `[n, d]` -> score of the class `[n]`, such as its log-odds."""
Effects = NDArray[np.float64]

BLOCK_VALUES = 2**24  # values of a replaced layer in memory at a time


def measure_unit_effects(
    runner: InterventionRunner, layer: Layer, reference: Tensor, score: Score
) -> Effects:
    """Return the effect of every unit of a layer on every image, `[units, n]`.

    Args:
        runner: The network and the images.
        layer: One of its layers.
        reference: The activation of the layer for reference images, `[m, units, h, w]`.
        score: Outputs -> score.
    """
    before = np.asarray(score(runner.features), np.float64)
    mean = reference.mean((0, 2, 3))
    return np.concatenate(
        [
            before - ablate_units(runner, layer, mean, [[u] for u in part], score)
            for part in _split(range(layer.n_units), layer.activation.numel())
        ]
    )


def ablate_units(
    runner: InterventionRunner,
    layer: Layer,
    mean: Tensor,
    sets: Sequence[Sequence[int]],
    score: Score,
) -> Effects:
    """Return the score `[sets, n]` with all units of a set at their mean, for each set.

    Args:
        runner: The network and the images.
        layer: One of its layers.
        mean: What the units are replaced by, `[units]`.
        sets: Units of the layer.
        score: Outputs -> score.
    """
    n = len(layer.activation)
    replaced = layer.activation.repeat(len(sets), 1, 1, 1)
    for i, units in enumerate(sets):
        for u in units:
            replaced[i * n : (i + 1) * n, u] = mean[u]
    out = score(runner.run_with(layer.unit, replaced))
    return np.asarray(out, np.float64).reshape(len(sets), n)


def measure_joint_effects(
    runner: InterventionRunner,
    layer: Layer,
    reference: Tensor,
    units: Sequence[int],
    score: Score,
) -> Effects:
    """Return the mean effect of removing two units beyond the sum of their own, `[m, m]`.

    Positive where one stands in for the other, so that each alone seems to be of no use; the
    diagonal is 0.

    Args:
        runner: The network and the images.
        layer: One of its layers.
        reference: The activation of the layer for reference images, `[m, units, h, w]`.
        units: Units to look at, such as the 20 with the greatest effects.
        score: Outputs -> score.
    """
    before = np.asarray(score(runner.features), np.float64)
    mean = reference.mean((0, 2, 3))
    places = [(i, j) for i in range(len(units)) for j in range(i, len(units))]
    effect = np.zeros((len(units), len(units)))
    for part in _split(range(len(places)), layer.activation.numel()):
        sets = [sorted({units[i] for i in places[k]}) for k in part]
        falls = (before - ablate_units(runner, layer, mean, sets, score)).mean(1)
        for k, fall in zip(part, falls, strict=True):
            effect[places[k]] = effect[places[k][::-1]] = fall
    own = np.diag(effect)
    joint = effect - own[:, None] - own
    np.fill_diagonal(joint, 0.0)
    return joint


def measure_path_effects(
    runner: InterventionRunner,
    layer: Layer,
    reference: Tensor,
    units: NDArray[np.int64],
    score: Score,
) -> Effects:
    """Return the effect of every path into `units` on every image, `[inputs, len(units), n]`.

    Args:
        runner: The network and the images.
        layer: One of its layers, whose convolution has one group.
        reference: Input of the convolution for reference images, `[m, inputs, h, w]`.
        units: Units of its output, `[v]`.
        score: Outputs -> score.
    """
    import torch
    from torch.nn import functional

    conv, n = layer.conv, len(layer.x)
    before = np.asarray(score(runner.features), np.float64)
    mean = reference.mean((0, 2, 3))
    effects = np.zeros((layer.x.shape[1], len(units), n))
    for u in range(layer.x.shape[1]):
        excess = layer.x[:, u : u + 1] - mean[u]
        with torch.inference_mode():
            added = functional.conv2d(
                excess,
                conv.weight[torch.from_numpy(units)][:, u : u + 1],
                None,
                conv.stride,
                conv.padding,
                conv.dilation,
            )  # [n, v, h', w']: what u adds to each unit beyond its mean
        for part in _split(range(len(units)), layer.output.numel()):
            replaced = layer.output.repeat(len(part), 1, 1, 1)
            for i, v in enumerate(part):
                replaced[i * n : (i + 1) * n, units[v]] -= added[:, v]
            after = np.asarray(score(runner.run_with(conv, replaced)), np.float64)
            effects[u, list(part)] = before - after.reshape(len(part), n)
    return effects


def _split(numbers: range, values: int) -> list[range]:
    """Return a range in parts whose copies of `values` each fit in a block."""
    size = max(1, BLOCK_VALUES // max(1, values))
    return [numbers[start : start + size] for start in range(0, len(numbers), size)]
