"""Unstructured pruning: the smallest weights of all layers become zero.

Song Han and others, 2015, Learning both Weights and Connections for Efficient Neural Networks,
arXiv 1506.02626, with one threshold for all layers. By itself it makes nothing faster and no file
smaller: engines multiply by zeros as by other numbers. `prune_channels` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.errors import InputError

if TYPE_CHECKING:
    from torch import nn


def find_masks(
    weights: Mapping[str, NDArray[Any]], fraction: float
) -> dict[str, NDArray[np.bool_]]:
    """Return which weights stay, in the shapes of `weights`: the greatest of all layers together.

    Of equal ones, those of earlier layers go first.

    Args:
        weights: Weights of each layer, `[...]`, by name.
        fraction: Fraction to remove, in [0, 1).

    Raises:
        InputError: The fraction is out of range.
    """
    if not 0 <= fraction < 1:
        raise InputError(f"the fraction of weights to prune is {fraction}; it must be in [0, 1)")
    sizes = {name: np.abs(w).ravel() for name, w in weights.items()}
    everything = np.concatenate([np.zeros(0), *sizes.values()])
    order = np.argsort(everything, kind="stable")
    stays = np.ones(len(everything), bool)
    stays[order[: round(fraction * len(everything))]] = False
    masks, start = {}, 0
    for name, weight in weights.items():
        masks[name] = stays[start : start + weight.size].reshape(weight.shape)
        start += weight.size
    return masks


def prune_weights(network: nn.Module, fraction: float) -> dict[str, NDArray[np.bool_]]:
    """Set the smallest weights of a network's linear layers and convolutions to zero, in place.

    Biases, normalizations and embeddings stay.

    Args:
        network: The network.
        fraction: Fraction of those weights to remove, in [0, 1).

    Returns:
        Which weights stayed, in the same shape, by name of the parameter.
    """
    import torch
    from torch import nn

    parameters = {
        f"{name}.weight": module.weight
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    }
    arrays = {name: p.detach().cpu().numpy() for name, p in parameters.items()}
    masks = find_masks(arrays, fraction)
    with torch.no_grad():
        for name, p in parameters.items():
            p.mul_(torch.from_numpy(masks[name]).to(p))
    return masks


def prune_onnx_weights(model: Any, fraction: float) -> Any:
    """Return an ONNX model whose smallest weights are zero; biases stay.

    Args:
        model: The model.
        fraction: Fraction of the weights to remove, in [0, 1).
    """
    import onnx
    from onnx import numpy_helper

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    layers = ("Conv", "Gemm", "MatMul")
    names = {node.input[1] for node in copy.graph.node if node.op_type in layers}
    tensors = {t.name: t for t in copy.graph.initializer if t.name in names}
    arrays = {name: np.asarray(numpy_helper.to_array(t)) for name, t in tensors.items()}
    for name, mask in find_masks(arrays, fraction).items():
        tensors[name].CopyFrom(numpy_helper.from_array(arrays[name] * mask, name))
    return copy
