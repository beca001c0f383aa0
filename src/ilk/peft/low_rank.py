"""Maps through few units beside a layer: from its input to `rank` units and on to its output."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from ilk.peft.layers import Layer
from ilk.peft.parts import Part


def make_generator(seed: int) -> torch.Generator:
    """Return the source of the random weights of a wrapper."""
    return torch.Generator().manual_seed(seed)


def count_inputs(layer: Layer) -> int:
    """Return the number of inputs of an output of a layer."""
    return layer.weight[0].numel()


def make_like(layer: Layer, weight: Tensor) -> Layer:
    """Return a layer of the kind and geometry of `layer` with `weight [units, ...]`, no bias."""
    made = copy.deepcopy(layer)
    made.weight, made.bias = nn.Parameter(weight.to(layer.weight)), None
    if isinstance(made, nn.Linear):
        made.out_features = len(weight)
    else:
        made.out_channels = len(weight)
    return made


def make_out(layer: Layer, weight: Tensor) -> Layer:
    """Return a layer from units to the outputs of `layer` with `weight [outputs, units]`."""
    outputs, units = weight.shape
    made: Layer
    if isinstance(layer, nn.Linear):
        made = nn.Linear(units, outputs, bias=False)
    else:
        made = nn.Conv2d(units, outputs, 1, bias=False)
    made.weight = nn.Parameter(weight.reshape(made.weight.shape).to(layer.weight))
    return made


def draw_kaiming(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Return a weight `[*shape]`, uniform as that of `nn.Linear`: variance 1 / (3 inputs)."""
    bound = 1 / math.sqrt(math.prod(shape[1:]))
    return (2 * torch.rand(shape, generator=generator) - 1) * bound


class LowRank(Part):
    """`y + scale up(f(down(x)))`, with f the identity or an activation, and `up` 0 at the start.

    Args:
        layer: The layer; a convolution's kernel, stride and padding are those of `down`.
        rank: Number of units; at most the inputs and the outputs of the layer.
        scale: Factor of the change.
        generator: Draws `down`.
        activation: The function f; None is the identity, with which the part can be merged.
    """

    def __init__(
        self,
        layer: Layer,
        rank: int,
        scale: float,
        generator: torch.Generator,
        activation: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if activation is None:
            rank = min(rank, len(layer.weight), count_inputs(layer))
        self.scale, self.activation = scale, activation
        self.down = make_like(layer, draw_kaiming((rank, *layer.weight.shape[1:]), generator))
        self.up = make_out(layer, torch.zeros(len(layer.weight), rank))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the new output for input `x` and output `y` of the layer."""
        z = self.down(x)
        if self.activation is not None:
            z = self.activation(z)
        changed: Tensor = y + self.scale * self.up(z)
        return changed

    def merge(self, layer: nn.Module) -> None:
        weight: Tensor = layer.weight  # type: ignore[assignment]
        product = self.up.weight.flatten(1).double() @ self.down.weight.flatten(1).double()
        merged = weight.double() + self.scale * product.reshape(weight.shape)
        weight.copy_(merged)
