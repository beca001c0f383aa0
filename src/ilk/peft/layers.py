"""Which layers of a network a wrapper may go around, found by what modules hold, not by family.

Text towers, layers that are reached without being called (`nn.MultiheadAttention`), layers that
are not linear in their weight, the first convolution and class heads are left out.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from ilk.core.errors import InputError

HEADS = ("head", "fc", "classifier")  # names of class heads, directly in a network
TEXT_PARTS = {"text_model", "text_projection"}
LAYER_CHOICES = ("all", "attention", "mlp")
FUSED, SEPARATE = {"qkv", "proj"}, {"q_proj", "k_proj", "v_proj", "out_proj"}

Layer = nn.Linear | nn.Conv2d


def check_choice(layers: str) -> None:
    """Raise InputError unless `layers` is one of `LAYER_CHOICES`."""
    if layers not in LAYER_CHOICES:
        raise InputError(f"layers is {layers!r}; it is one of {', '.join(LAYER_CHOICES)}")


def iterate_modules(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules that process images, with their paths, in the order of registration."""
    for path, module in network.named_modules():
        parts = path.split(".")
        if parts[0] not in HEADS and not TEXT_PARTS.intersection(parts):
            yield path, module


def is_attention(module: nn.Module) -> bool:
    """Return whether `module` is attention with linear layers for queries, keys and values."""
    linear = {name for name, child in module.named_children() if isinstance(child, nn.Linear)}
    return (linear >= FUSED or linear >= SEPARATE) and hasattr(module, "num_heads")


def is_mlp(module: nn.Module) -> bool:
    """Return whether `module` is the MLP of a block: two linear layers, there and back."""
    layers = [child for child in module.children() if isinstance(child, nn.Linear)]
    return (
        len(layers) == 2
        and layers[0].in_features == layers[1].out_features
        and layers[0].out_features == layers[1].in_features
    )


def list_attentions(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the attention modules with their paths."""
    return [(path, m) for path, m in iterate_modules(network) if is_attention(m)]


def list_mlps(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the MLPs of blocks with their paths."""
    return [(path, m) for path, m in iterate_modules(network) if path and is_mlp(m)]


def list_layers(
    network: nn.Module, layers: str = "all", *, depthwise: bool = False
) -> list[tuple[str, Layer]]:
    """Return linear layers and convolutions with their paths.

    Args:
        network: The network.
        layers: "all", those of "attention", or those of "mlp".
        depthwise: Include convolutions in groups.
    """
    check_choice(layers)
    modules = dict(iterate_modules(network))
    inside_attention = {p for p, m in modules.items() if type(m) is nn.MultiheadAttention}
    found: list[tuple[str, Layer]] = []
    for path, module in modules.items():
        parent = path.rpartition(".")[0]
        if isinstance(module, nn.Linear | nn.Conv2d) and parent not in inside_attention:
            found.append((path, module))
    if found and isinstance(found[0][1], nn.Conv2d):
        found = found[1:]  # the stem
    is_kind = {"attention": is_attention, "mlp": is_mlp}.get(layers)
    return [
        (path, layer)
        for path, layer in found
        if (depthwise or getattr(layer, "groups", 1) == 1)
        and (is_kind is None or is_kind(modules[path.rpartition(".")[0]]))
        and _is_linear_in_weight(layer)
    ]


@torch.no_grad()
def _is_linear_in_weight(layer: Layer) -> bool:
    """Return whether twice the weight gives twice the output; not so if it is standardized."""
    if type(layer) in (nn.Linear, nn.Conv2d):
        return True
    bias, weight = layer.bias, layer.weight
    shape = (1, layer.in_features) if isinstance(layer, nn.Linear) else (1, layer.in_channels, 8, 8)
    x = torch.ones(shape, device=weight.device, dtype=weight.dtype)
    try:
        layer.bias = None
        once = layer(x)
        layer.weight = nn.Parameter(2 * weight, requires_grad=False)
        return torch.allclose(layer(x), 2 * once, rtol=1e-3, atol=1e-6)
    finally:
        layer.weight, layer.bias = weight, bias
