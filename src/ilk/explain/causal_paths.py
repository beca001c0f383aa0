"""Which units of a convolutional network cause the score of a class, by path interventions.

Ola Ahmad, Nicolas Béreux, Loïc Baret, Vahid Hashemi, Freddy Lecue, 2024, Causal Analysis for Robust
Interpretability of Neural Networks, arXiv 2305.08950.

    CE(v -> out) = E_x[ s(x) - s(x | unit v at its mean) ]
    CE(u -> v)   = E_x[ s(x) - s(x | what u adds to v at its mean, its other paths as they are) ]

s is the score of a class, over images of that class; means are over reference images of any class.
From the last convolution down, a unit or a path is kept if its effect is greater than 0 in a paired
t test over images, at a false discovery rate of 5 %; if its share of the effects exceeds a
threshold, such as a quantile of the shares in networks that were trained on shuffled labels; and if
removing it lowers the probability by a given amount. Paths into units that are not kept are not
looked at. A unit of the layer before is kept if it has a kept path.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ilk.core.errors import InputError
from ilk.explain.interventions import InterventionRunner, Layer
from ilk.explain.unit_effects import (
    Effects,
    Score,
    measure_path_effects,
    measure_unit_effects,
)

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

FDR = 0.05


@dataclass(frozen=True)
class Criteria:
    """What makes a unit or a path count.

    Attributes:
        fdr: False discovery rate of the paired test over images, in (0, 1).
        min_share: Least share of a unit in the sum of absolute effects of its layer, in [0, 1).
        min_path_share: Least share of a path in the sum of those into the same unit, in [0, 1).
        min_fall: Least fall of the probability, `1 / (1 + exp(-s))`, when it is removed.
    """

    fdr: float = FDR
    min_share: float = 0.0
    min_path_share: float = 0.0
    min_fall: float = 0.0


@dataclass(frozen=True, eq=False)
class CausalLayer:
    """The effects of one convolution.

    Attributes:
        units: Kept units of its output, ascending.
        edges: Kept paths `[m, 2]`: unit of its input, unit of its output.
        edge_effects: Mean effects of all paths into kept units, `[inputs, outputs]`; 0 elsewhere.
    """

    units: NDArray[np.int64]
    edges: NDArray[np.int64]
    edge_effects: Effects

    @property
    def inputs(self) -> NDArray[np.int64]:
        """Units of its input with a kept path, `[u]`, ascending."""
        return np.unique(self.edges[:, 0])


@dataclass(frozen=True, eq=False)
class CausalGraph:
    """Units and paths that cause a score.

    Attributes:
        unit_effects: Effect of each unit of the last convolution on each image, `[units, n]`.
        units: Kept units of the last convolution, ascending.
        layers: The convolutions that were looked at, the last one first.
    """

    unit_effects: Effects
    units: NDArray[np.int64]
    layers: tuple[CausalLayer, ...]

    def get_weights(self) -> Effects:
        """Return the mean effect of kept units of the last convolution, else 0, `[units]`."""
        weights = np.zeros(len(self.unit_effects))
        weights[self.units] = self.unit_effects[self.units].mean(1)
        return weights


def trace_causal_paths(
    network: Module,
    images: Tensor,
    reference: Tensor,
    score: Score,
    criteria: Criteria = Criteria(),
    *,
    n_layers: int = 1,
) -> CausalGraph:
    """Return the units and paths of a convolutional network that cause a score.

    Args:
        network: Images -> outputs `[n, d]`, in evaluation mode; no layer has to be named.
        images: Images of the class that the network gets right, `[n, c, h, w]`, at least 3.
        reference: Images of all classes, for the means, `[m, c, h, w]`.
        score: Outputs -> score of the class.
        criteria: What makes a unit or a path count.
        n_layers: Convolutions whose incoming paths are looked at, from the last one on, >= 0.

    Raises:
        InputError: There are fewer than three images, or no reference.
        Unavailable: The network does not convolve.
    """
    if len(images) < 3 or not len(reference):
        raise InputError(
            f"{len(images)} images and {len(reference)} reference images; give three or more of "
            "the class, and some of all classes"
        )
    runner = InterventionRunner(network, images)
    means = InterventionRunner(network, reference)
    before = np.asarray(score(runner.features), np.float64)
    last, last_mean = runner.layers[-1], means.layers[-1]
    effects = measure_unit_effects(runner, last, last_mean.activation, score)
    is_large = compute_shares(effects) > criteria.min_share
    units = np.flatnonzero(is_large & _is_kept(effects, before, criteria))
    layers: list[CausalLayer] = []
    kept = units
    pairs = list(zip(runner.layers, means.layers, strict=True))[::-1]
    for i in range(min(n_layers, len(pairs))):
        layer, mean = pairs[i]
        if not len(kept) or layer.conv.groups != 1 or layer.n_units <= kept.max():
            break
        traced = _trace_layer(runner, layer, mean.x, kept, score, before, criteria)
        layers.append(traced)
        is_chain = i + 1 < len(pairs) and pairs[i + 1][0].n_units == layer.x.shape[1]
        if not is_chain:
            break
        kept = traced.inputs
    return CausalGraph(effects, units, tuple(layers))


def compute_shares(effects: Effects) -> Effects:
    """Return the share of each mean effect in the sum of their absolute values, as `effects`.

    Args:
        effects: Effects on images, `[..., n]`; the shares are `[...]`.
    """
    mean = effects.mean(-1)
    total = np.abs(mean).sum()
    return np.asarray(mean / total if total > 0 else mean)


def compute_path_shares(effects: Effects) -> Effects:
    """Return the share of each path in those into the same unit, `[inputs, outputs]`.

    Args:
        effects: Effects of paths on images, `[inputs, outputs, n]`.
    """
    return np.stack([compute_shares(effects[:, v]) for v in range(effects.shape[1])], axis=1)


def _trace_layer(
    runner: InterventionRunner,
    layer: Layer,
    reference: Tensor,
    units: NDArray[np.int64],
    score: Score,
    before: Effects,
    criteria: Criteria,
) -> CausalLayer:
    """Return the paths of a layer into its kept units."""
    effects = measure_path_effects(runner, layer, reference, units, score)
    n_inputs, n_kept, n = effects.shape
    is_kept = _is_kept(effects.reshape(-1, n), before, criteria).reshape(n_inputs, n_kept)
    is_large = compute_path_shares(effects) > criteria.min_path_share
    edges = np.argwhere(is_kept & is_large)
    edges[:, 1] = units[edges[:, 1]]
    all_effects = np.zeros((n_inputs, layer.n_units))
    all_effects[:, units] = effects.mean(2)
    return CausalLayer(units, edges.astype(np.int64), all_effects)


def _is_kept(effects: Effects, before: Effects, criteria: Criteria) -> NDArray[np.bool_]:
    """Return which of `[m, n]` effects on images are there and lower the probability, `[m]`."""
    falls = (_sigmoid(before) - _sigmoid(before - effects)).mean(1)
    return np.asarray(find_positive(effects, criteria.fdr) & (falls > criteria.min_fall))


def find_positive(effects: Effects, fdr: float = FDR) -> NDArray[np.bool_]:
    """Return which rows of `[m, n]` have a mean above 0, at a false discovery rate, `[m]`.

    One-sided paired t tests; Yoav Benjamini, Yosef Hochberg, 1995, Controlling the False Discovery
    Rate, doi:10.1111/j.2517-6161.1995.tb02031.x.
    """
    from scipy.stats import false_discovery_control, t

    n = effects.shape[1]
    mean, error = effects.mean(1), effects.std(1, ddof=1) / np.sqrt(n)
    rounding = 1e-6 * np.abs(effects).max(initial=0.0)  # constant effects have no spread
    p = t.sf(mean / np.maximum(error, rounding + 1e-12), n - 1)
    return np.asarray((false_discovery_control(p) <= fdr) & (mean > rounding))


def _sigmoid(z: Effects) -> Effects:
    from scipy.special import expit

    return np.asarray(expit(z))
