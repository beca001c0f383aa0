"""Adapters: MLPs of few rectified units beside or behind a sub-layer.

A sub-layer is an MLP or the attention of a block; in a network without either, a convolution
that does not widen.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.peft.layers import (
    SEPARATE,
    Layer,
    check_choice,
    list_attentions,
    list_layers,
    list_mlps,
)
from ilk.peft.low_rank import LowRank, draw_kaiming, make_out
from ilk.peft.parts import Part


class Bottleneck(Part):
    """`y + scale ReLU(x Wd) Wu`, with x the input or the output of a sub-layer, and Wu 0 at first.

    Args:
        first: First layer of the sub-layer, which gives the number of inputs.
        last: Its last layer, which gives the number of outputs.
        units: Number of units.
        scale: Factor of the change.
        is_sequential: x is the output of the sub-layer, else its input.
        generator: Draws Wd.
    """

    def __init__(
        self,
        first: Layer,
        last: Layer,
        units: int,
        scale: float,
        is_sequential: bool,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.scale, self.is_sequential = scale, is_sequential
        outputs = len(last.weight)
        inputs = outputs if is_sequential else first.weight.shape[1]
        self.down = make_out(first, draw_kaiming((units, inputs), generator))
        self.up = make_out(last, torch.zeros(outputs, units))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the new output for input `x` and output `y` of the sub-layer."""
        z = functional.relu(self.down(y if self.is_sequential else x))
        changed: Tensor = y + self.scale * self.up(z)
        return changed


def make_adapters(
    network: nn.Module,
    units: int,
    scale: float,
    layers: str,
    is_sequential: bool,
    generator: torch.Generator,
) -> list[tuple[str, Part]]:
    """Return an adapter for each sub-layer, with its path.

    Args:
        network: The network.
        units: Units of each adapter.
        scale: Factor of the change.
        layers: "mlp", "attention" or "all".
        is_sequential: The adapters read the output of their sub-layer, else its input.
        generator: Draws their weights.
    """
    check_choice(layers)
    found = list_mlps(network) if layers != "attention" else []
    found += list_attentions(network) if layers != "mlp" else []
    parts: list[tuple[str, Part]] = []
    for path, module in found:
        linear = {n: c for n, c in module.named_children() if isinstance(c, nn.Linear)}
        first, *_, last = linear.values()
        if linear.keys() >= SEPARATE:  # whose order differs between networks
            first, last = linear["q_proj"], linear["out_proj"]
        parts.append((path, Bottleneck(first, last, units, scale, is_sequential, generator)))
    if parts or layers == "attention":
        return parts
    for path, layer in list_layers(network):
        if isinstance(layer, nn.Conv2d) and layer.out_channels <= layer.in_channels:
            part: Part
            if is_sequential:
                part = Bottleneck(layer, layer, units, scale, True, generator)
            else:
                part = LowRank(layer, units, scale, generator, nn.ReLU())
            parts.append((path, part))
    return parts
