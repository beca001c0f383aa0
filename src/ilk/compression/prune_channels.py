"""Structured pruning: whole inner channels go, so that the network computes less.

Which go, and what the layer that reads the others does instead, is one least-squares problem: with
h the inputs of that layer on calibration images, centred, and C = E[h h^T], removing channel c and
fitting the others anew changes the layer's output by `|w_c|^2 / (C^-1)_cc` in the mean square
(Babak Hassibi, David Stork, 1993, Second order derivatives for network pruning: Optimal Brain
Surgeon, equation 5). The cheapest channels go, a few at a time, and W and C^-1 are updated. In
the end the kept weights are `W C[:, s] C[s, s]^-1` (Yihui He and others, 2017, Channel Pruning for
Accelerating Very Deep Neural Networks, arXiv 1707.06168, equation 2, in closed form).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.compression.channel_groups import (
    ChannelGroup,
    cut_channels,
    find_groups,
    get_attribute,
    read_constants,
)
from ilk.core.errors import InputError
from ilk.core.progress import Progress, silent_progress
from ilk.encoders.engines import INPUT
from ilk.export.session import expose, open_session

MULTIPLE = 8  # kernels compute this many channels at a time
RIDGE = 0.1  # of the mean variance of a channel: few images stand for all
MAX_POSITIONS = 200  # of each image and layer
Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PrunedNetwork:
    """A network with fewer channels.

    Attributes:
        model: Its ONNX model.
        kept: Channels of each layer before and after, by name of the layer.
        multiply_adds: Multiply-adds of one image before and after.
    """

    model: Any
    kept: dict[str, tuple[int, int]]
    multiply_adds: tuple[int, int]


@dataclass(frozen=True, eq=False)
class _Moments:
    """Mean `[c]` and covariance `[c, c]` of the inputs of a layer."""

    mean: Matrix
    covariance: Matrix


def prune_channels(
    model: Any,
    batches: Sequence[NDArray[np.float32]],
    fraction: float,
    *,
    name: str = "this network",
    progress: Progress = silent_progress,
) -> PrunedNetwork:
    """Return a network without the inner channels that matter least.

    Args:
        model: ONNX model of normalized images, as `QuantizableNetwork.prepared`.
        batches: Calibration images, each `[b, 3, h, w]`.
        fraction: Fraction of the multiply-adds to remove, in (0, 1). Less is removed if the inner
            channels have not as many.
        name: What to call the network in messages.
        progress: Reports the progress.

    Raises:
        InputError: The network has no channels that can be removed.
    """
    groups = [group for group in find_groups(model) if group.n > MULTIPLE]
    if not groups:
        raise InputError(
            f"{name} has no inner channels that can be removed without others; leave --prune out"
        )
    constants = read_constants(model)
    nodes = {node.name: node for node in model.graph.node}
    moments = measure_moments(model, groups, batches, progress)
    orders = {}
    with progress("choosing channels", len(groups)) as advance:
        for group in groups:
            weight = np.hstack([read_weight(nodes[r], constants).T for r in group.readers]).T
            orders[group.name] = rank_channels(weight, moments[group.name].covariance)
            advance(1)
    costs = count_multiply_adds(model, batches[0][:1])
    kept = choose_kept(groups, orders, costs, fraction)
    changed: dict[str, NDArray[Any]] = {}
    for group in groups:
        if len(kept[group.name]) < group.n:
            for reader in group.readers:
                changed |= _reconstruct(
                    nodes[reader], constants, moments[group.name], kept[group.name]
                )
    # Cuts first, then what was fitted: a layer may be cut at both ends.
    rows = {name: kept[g.name] for g in groups for name, axis in g.slices if axis == 0}
    outputs = {g.slices[0][0]: (kept[g.name], g.slices[0][1]) for g in groups}

    def change(constant: str, cut: NDArray[Any]) -> NDArray[Any]:
        if constant not in changed:
            return cut
        new = changed[constant]
        if constant in outputs:
            new = np.take(new, *outputs[constant])
        elif constant in rows and new.ndim == 1:
            new = new[rows[constant]]
        return new.astype(np.float32).reshape(cut.shape)

    pruned = cut_channels(model, kept, groups, change)
    sizes = {g.name: (g.n, len(kept[g.name])) for g in groups}
    after = count_multiply_adds(pruned, batches[0][:1])
    return PrunedNetwork(pruned, sizes, (sum(costs.values()), sum(after.values())))


def count_multiply_adds(model: Any, image: NDArray[np.float32]) -> dict[str, int]:
    """Return the multiply-adds of each layer for one image `[1, 3, h, w]`, by name of the layer."""
    constants = read_constants(model)
    layers = [
        node
        for node in model.graph.node
        if node.op_type in ("Conv", "Gemm", "MatMul") and node.input[1] in constants
    ]
    wanted = [node.output[0] for node in layers]
    values = open_session(expose(model, wanted)).run(wanted, {INPUT: image})
    counts = {}
    for node, value in zip(layers, values, strict=True):
        weight = constants[node.input[1]]
        is_kernel = node.op_type == "Conv" or bool(get_attribute(node, "transB", 0))
        counts[node.name] = int(value.size * (weight[0].size if is_kernel else weight.shape[0]))
    return counts


def measure_moments(
    model: Any,
    groups: Sequence[ChannelGroup],
    batches: Sequence[NDArray[np.float32]],
    progress: Progress = silent_progress,
) -> dict[str, _Moments]:
    """Return mean and covariance of the channels of each group, over images and positions.

    Args:
        model: The ONNX model.
        groups: Groups of its channels.
        batches: Normalized images, each `[b, 3, h, w]`.
        progress: Reports each batch.
    """
    names = {group.name: group.tensor for group in groups}
    session = open_session(expose(model, list(dict.fromkeys(names.values()))))
    count = dict.fromkeys(names, 0)
    total = {g.name: np.zeros(g.n) for g in groups}
    square = {g.name: np.zeros((g.n, g.n)) for g in groups}
    wanted = list(dict.fromkeys(names.values()))
    with progress("measuring the channels", len(batches)) as advance:
        for batch in batches:
            values = dict(zip(wanted, session.run(wanted, {INPUT: batch}), strict=True))
            for group in groups:
                rows = _take_positions(values[group.tensor], group.is_spatial)
                count[group.name] += len(rows)
                total[group.name] += rows.sum(0, dtype=np.float64)
                square[group.name] += rows.T @ rows
            advance(1)
    moments = {}
    for group in groups:
        mean = total[group.name] / count[group.name]
        covariance = square[group.name] / count[group.name] - np.outer(mean, mean)
        moments[group.name] = _Moments(mean, covariance)
    return moments


def _take_positions(values: NDArray[np.float32], is_spatial: bool) -> NDArray[np.float32]:
    """Return rows `[m, c]` of a value, evenly over the positions of each image."""
    if is_spatial:
        values = values.reshape(*values.shape[:2], -1).transpose(0, 2, 1)
    else:
        values = values.reshape(len(values), -1, values.shape[-1])
    step = -(-values.shape[1] // MAX_POSITIONS)
    return values[:, ::step].reshape(-1, values.shape[-1])


def read_weight(node: Any, constants: dict[str, NDArray[Any]]) -> Matrix:
    """Return the weights of a layer as `[outputs, c]`; kernels are summed over their positions."""
    weight = np.asarray(constants[node.input[1]], np.float64)
    if node.op_type == "Conv":
        return np.asarray(weight.reshape(*weight.shape[:2], -1).sum(2))
    return weight if get_attribute(node, "transB", 0) else weight.T


def rank_channels(weight: Matrix, covariance: Matrix) -> tuple[NDArray[np.int64], Matrix]:
    """Return the channels in the order in which they go, `[c]`, and what each adds to the error.

    Args:
        weight: Weights of the layers that read them, `[outputs, c]`.
        covariance: Of the channels, `[c, c]`.

    Returns:
        The order, and the mean squared error that each adds, relative to that of removing all.
    """
    c = len(covariance)
    ridge = RIDGE * max(float(np.trace(covariance)) / c, np.finfo(float).tiny)
    regular = covariance + ridge * np.eye(c)
    scale = max(float(np.einsum("oc,cd,od->", weight, regular, weight)), np.finfo(float).tiny)
    inverse, weight = np.linalg.inv(regular), weight.copy()
    left, order, errors = np.arange(c), list[int](), list[float]()
    while len(left):
        each = (weight[:, left] ** 2).sum(0) / np.diag(inverse)[left]
        out = left[np.argsort(each, kind="stable")[:MULTIPLE]]
        block = np.linalg.inv(inverse[np.ix_(out, out)])
        solved = block @ inverse[out]  # [out, c]
        joint = float(np.einsum("oi,ij,oj->", weight[:, out], block, weight[:, out]))
        order += out.tolist()
        errors += [joint / len(out) / scale] * len(out)
        weight -= weight[:, out] @ solved
        inverse -= inverse[:, out] @ solved
        left = np.setdiff1d(left, out)
    return np.array(order, np.int64), np.array(errors)


def choose_kept(
    groups: Sequence[ChannelGroup],
    orders: dict[str, tuple[NDArray[np.int64], Matrix]],
    costs: dict[str, int],
    fraction: float,
) -> dict[str, NDArray[np.int64]]:
    """Return the channels of each group that stay, `[m]`: those go that add the least error.

    Errors are relative to the layer. (Dividing them by the cost of a channel empties the first
    layers, where channels cost most, and what is lost there all later layers lose.) Each group
    keeps a multiple of `MULTIPLE`, at least one.

    Args:
        groups: The groups.
        orders: What `rank_channels` returned, by name of the group.
        costs: Multiply-adds by name of the layer.
        fraction: Fraction of all multiply-adds to remove.
    """
    steps = []
    for group in groups:
        layers = (group.name, *group.depthwise, *group.readers)
        cost = sum(costs[layer] for layer in layers) / group.n  # of one channel
        rising = np.maximum.accumulate(orders[group.name][1])
        for start in range(0, group.n - MULTIPLE, MULTIPLE):
            block = min(MULTIPLE, group.n - start)
            steps.append((rising[start], group.name, start + block, block * cost))
    n_out = dict.fromkeys((group.name for group in groups), 0)
    removed, wanted = 0.0, fraction * sum(costs.values())
    for _, name, end, saved in sorted(steps):
        if removed >= wanted:
            break
        n_out[name] = end
        removed += saved
    return {
        group.name: np.sort(orders[group.name][0][_round_out(group.n, n_out[group.name]) :])
        for group in groups
    }


def _round_out(n: int, n_out: int) -> int:
    """Return how many of n channels go so that a multiple of `MULTIPLE` stays, if any goes."""
    return n - -(-(n - n_out) // MULTIPLE) * MULTIPLE if n_out else 0


def _reconstruct(
    node: Any, constants: dict[str, NDArray[Any]], moments: _Moments, kept: NDArray[np.int64]
) -> dict[str, NDArray[Any]]:
    """Return weight and bias of a layer, fitted to what it gave with all channels, by name."""
    weight = np.asarray(constants[node.input[1]], np.float64)
    is_conv = node.op_type == "Conv"
    summed = read_weight(node, constants)
    gone = np.setdiff1d(np.arange(summed.shape[1]), kept)
    mixing = _fit_gone(moments.covariance, kept, gone)
    if is_conv:  # the same mixing at each position of the kernel
        new = weight[:, kept] + np.einsum("og...,gk->ok...", weight[:, gone], mixing)
    elif get_attribute(node, "transB", 0):
        new = weight[:, kept] + weight[:, gone] @ mixing
    else:
        new = weight[kept] + mixing.T @ weight[gone]
    shift = summed[:, gone] @ (moments.mean[gone] - mixing @ moments.mean[kept])
    result = {node.input[1]: new}
    if len(node.input) > 2 and node.op_type != "MatMul":
        result[node.input[2]] = constants[node.input[2]] + shift
    return result


def _fit_gone(covariance: Matrix, kept: NDArray[np.int64], gone: NDArray[np.int64]) -> Matrix:
    """Return how the channels that go follow from those that stay, `[gone, kept]`."""
    ridge = RIDGE * max(float(np.trace(covariance)) / len(covariance), np.finfo(float).tiny)
    inner = covariance[np.ix_(kept, kept)] + ridge * np.eye(len(kept))
    return np.asarray(np.linalg.solve(inner, covariance[np.ix_(kept, gone)]).T)
