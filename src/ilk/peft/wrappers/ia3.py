"""(IA)^3: vectors rescale keys, values and hidden units.

Haokun Liu and others, 2022, Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than
In-Context Learning, arXiv 2205.05638, section 3.3. The trained parameters are the vectors minus 1.
Departure: in a network without attention and MLPs, the output channels of each convolution
but the first are rescaled.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ilk.core.errors import InputError
from ilk.peft.layers import SEPARATE, Layer, list_attentions, list_layers, list_mlps
from ilk.peft.parts import InputPart, Part
from ilk.peft.wrapper import Wrapper

POSITIONS = ("published", "outputs")


def _zeros(layer: Layer, size: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(size, device=layer.weight.device, dtype=layer.weight.dtype))


class ScaledOutputs(Part):
    """The outputs of a layer, from number `first` on, times 1 + a vector."""

    def __init__(self, layer: Layer, first: int = 0) -> None:
        super().__init__()
        self.first, self.axis = first, 3 if isinstance(layer, nn.Conv2d) else 1
        self.vector = _zeros(layer, len(layer.weight) - first)

    def compute_scale(self) -> Tensor:
        """Return the factor of each output, `[outputs]`."""
        return 1 + torch.cat([self.vector.new_zeros(self.first), self.vector])

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the rescaled output."""
        scale = self.compute_scale()
        return y * (scale[:, None, None] if self.axis == 3 else scale)

    def merge(self, layer: nn.Module) -> None:
        scale, weight = self.compute_scale(), layer.weight
        assert isinstance(weight, Tensor), "a layer has a weight"
        weight.mul_(scale.reshape(-1, *[1] * (weight.ndim - 1)))
        if isinstance(layer.bias, Tensor):
            layer.bias.mul_(scale)


class ScaledInputs(InputPart):
    """The inputs of a linear layer times 1 + a vector."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.vector = _zeros(layer, layer.in_features)

    def forward(self, x: Tensor) -> Tensor:
        """Return the rescaled input."""
        return x * (1 + self.vector)

    def merge(self, layer: nn.Module) -> None:
        weight = layer.weight
        assert isinstance(weight, Tensor), "a layer has a weight"
        weight.mul_(1 + self.vector)


@dataclass(frozen=True)
class IA3(Wrapper):
    """Vectors that rescale keys, values and hidden units; one parameter for each of these.

    Attributes:
        positions: "published", or the "outputs" of every layer.
    """

    learning_rate = 1e-2

    positions: str = "published"

    def __post_init__(self) -> None:
        if self.positions not in POSITIONS:
            raise InputError(
                f"IA3: positions is {self.positions!r}; it is one of {', '.join(POSITIONS)}"
            )

    def make_parts(self, network: nn.Module) -> list[tuple[str, Part]]:
        parts: list[tuple[str, Part]] = []
        if self.positions == "published":
            for path, attention in list_attentions(network):
                layers = dict(attention.named_children())
                names = ("k_proj", "v_proj") if layers.keys() >= SEPARATE else ("qkv",)
                for name in names:
                    layer = layers[name]
                    assert isinstance(layer, nn.Linear), "what `is_attention` says"
                    first = layer.out_features // 3 if name == "qkv" else 0
                    parts.append((f"{path}.{name}", ScaledOutputs(layer, first)))
            for path, mlp in list_mlps(network):
                name, last = [(n, c) for n, c in mlp.named_children() if isinstance(c, nn.Linear)][
                    1
                ]
                parts.append((f"{path}.{name}", ScaledInputs(last)))
        if parts:
            return parts
        return [
            (path, ScaledOutputs(layer)) for path, layer in list_layers(network, depthwise=True)
        ]
