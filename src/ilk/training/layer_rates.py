"""Learning rates per layer: lower for layers near the image, which hold more general features.

Jeremy Howard and Sebastian Ruder, 2018, Universal Language Model Fine-tuning for Text
Classification, arXiv 1801.06146, section 3.2 (discriminative fine-tuning): the learning rate of a
layer is that of the layer above it times a factor.
"""

from __future__ import annotations

from torch import nn

from ilk.core.errors import InputError
from ilk.training.optimizers import ParameterGroup

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
BODY_SHARE = 0.5  # a part with more than this share of the parameters is made of layers itself


class Layer(nn.Module):
    """Parts of a network that are trained with one learning rate.

    It is not a part of the network and computes nothing; its parameters are those of its parts.
    """

    def __init__(self, *parts: nn.Module | nn.Parameter) -> None:
        super().__init__()
        for part in parts:
            self.append(part)

    def append(self, part: nn.Module | nn.Parameter) -> None:
        """Add a module with its parameters, or one parameter."""
        name = str(len(self._modules) + len(self._parameters))
        if isinstance(part, nn.Parameter):
            self.register_parameter(name, part)
        else:
            self.add_module(name, part)


def list_layers(network: nn.Module) -> list[Layer]:
    """Return the layers of a network from its input to its output, each parameter in one of them.

    A layer is a part of the network in the order in which the parts were defined, which is the
    order of depth in the networks of ilk, timm and transformers; sequences of blocks, and parts
    that hold more than half of all parameters, are divided further. A part without a weight matrix,
    such as a normalization, belongs to the layer before it; parameters that belong to no part, such
    as embeddings of positions, to the first; a part that shares parameters with an earlier one, to
    that one.
    """
    total = size_of(network)
    loose: list[nn.Parameter] = []
    parts: list[nn.Module] = []

    def divide(module: nn.Module) -> None:
        loose.extend(module.parameters(recurse=False))
        for child in module.children():
            size = size_of(child)
            is_nested = any(
                size_of(part) for inner in child.children() for part in inner.children()
            )
            is_body = size > BODY_SHARE * total and any(size_of(part) for part in child.children())
            if is_body or (is_nested and isinstance(child, CONTAINERS)):
                divide(child)
            elif size:
                parts.append(child)

    divide(network)
    layers: list[Layer] = []
    owners: dict[int, Layer] = {}
    for part in parts:
        owner = next((owners[id(p)] for p in part.parameters() if id(p) in owners), None)
        if owner is None and layers and all(p.dim() < 2 for p in part.parameters()):
            owner = layers[-1]
        if owner is None:
            owner = Layer()
            layers.append(owner)
        owner.append(part)
        for p in part.parameters():
            owners.setdefault(id(p), owner)
    layers = layers or [Layer()]
    for p in loose:
        if id(p) not in owners:
            owners[id(p)] = layers[0]
            layers[0].append(p)
    return layers


def size_of(module: nn.Module) -> int:
    """Return the number of parameters of a module."""
    return sum(p.numel() for p in module.parameters())


def make_layer_groups(network: nn.Module, decay: float = 1.0) -> list[ParameterGroup]:
    """Return the trainable parameters of a network in groups with a learning rate per layer.

    The last layer trains with the learning rate of the recipe, the one before it with `decay` times
    that, and so on; a layer that is frozen counts and gets no group.

    Args:
        network: The network.
        decay: Factor from a layer to the one before it, in (0, 1]; 1 gives one group.

    Raises:
        InputError: `decay` is not in (0, 1].
    """
    if not 0 < decay <= 1:
        raise InputError(f"layer_decay is {decay}; it must be above 0 and at most 1")
    if decay == 1:
        return [ParameterGroup(network)]
    layers = list_layers(network)
    groups = [
        ParameterGroup(layer, scale=decay ** (len(layers) - 1 - i))
        for i, layer in enumerate(layers)
        if any(p.requires_grad for p in layer.parameters())
    ]
    return groups or [ParameterGroup(network)]
