"""What a wrapper puts around a layer, and how the parts of a network are found again.

A part never changes a pretrained tensor while it is there. It carries no state from one call to
the next, so that several threads may use the network, and survives `copy.deepcopy`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ilk.core.errors import InputError

NAME = "wrapper"  # of the child of a layer that holds its part


class Part(nn.Module):
    """Parameters of a wrapper at one layer; `forward(x, y)` returns the new output of the layer."""

    handles: tuple[RemovableHandle, ...] = ()

    def own_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield names and values of the parameters that the wrapper added."""
        yield from self.named_parameters()

    def attach(self, network: nn.Module, path: str) -> None:
        """Become the child `wrapper` of the layer at `path`, and change its output."""
        layer = network.get_submodule(path)
        layer.add_module(NAME, self)
        self.handles = (layer.register_forward_hook(_change_output, with_kwargs=True),)

    def detach(self, network: nn.Module, path: str) -> None:
        """Leave the layer as it was; `path` is that of the part."""
        for handle in self.handles:
            handle.remove()
        delattr(network.get_submodule(path.rpartition(".")[0]), NAME)

    def merge(self, layer: nn.Module) -> None:
        """Change the weights of `layer` so that it gives the same outputs without the part."""
        raise NotImplementedError

    def merge_into(self, network: nn.Module, path: str) -> None:
        """Merge the part at `path` into its layer, and leave."""
        layer = network.get_submodule(path.rpartition(".")[0])
        self.detach(network, path)
        with torch.no_grad():
            self.merge(layer)


class InputPart(Part):
    """A part that changes the input of its layer: `forward(x)`."""

    def attach(self, network: nn.Module, path: str) -> None:
        layer = network.get_submodule(path)
        layer.add_module(NAME, self)
        self.handles = (layer.register_forward_pre_hook(_change_input),)


class Replacement(Part):
    """A part that stands in the place of a module and holds it as `inner`."""

    inner: nn.Module

    def own_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        for name, value in self.named_parameters():
            if not name.startswith("inner."):
                yield name, value

    def attach(self, network: nn.Module, path: str) -> None:
        network.set_submodule(path, self)

    def detach(self, network: nn.Module, path: str) -> None:
        network.set_submodule(path, self.inner)


def _change_output(layer: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
    x = args[0] if args else next(iter(kwargs.values()))
    part: Any = layer._modules[NAME]
    if isinstance(output, tuple):  # attention of transformers: with its weights
        return part(x, output[0]), *output[1:]
    return part(x, output)


def _change_input(layer: nn.Module, args: Any) -> Any:
    part: Any = layer._modules[NAME]
    return part(args[0]), *args[1:]


def list_parts(network: nn.Module) -> list[tuple[str, Part]]:
    """Return the parts of a wrapped network with their paths."""
    return [(path, m) for path, m in network.named_modules() if isinstance(m, Part)]


def get_state(network: nn.Module) -> dict[str, Tensor]:
    """Return copies of the parameters `[...]` that a wrapper added, by name; none without one."""
    return {
        f"{path}.{name}": value.detach().clone()
        for path, part in list_parts(network)
        for name, value in part.own_parameters()
    }


def load_state(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load parameters `[...]` that `get_state` returned into a network with the same wrapper.

    Raises:
        InputError: The parameters are those of another wrapper or another network.
    """
    own = {
        f"{path}.{name}": value
        for path, part in list_parts(network)
        for name, value in part.own_parameters()
    }
    differing = [
        name
        for name in sorted(own.keys() | state.keys())
        if name not in own or name not in state or own[name].shape != state[name].shape
    ]
    if differing:
        raise InputError(
            f"the saved parameters do not fit this wrapper and network ({len(differing)} differ, "
            f"such as {differing[0]}); open them with the wrapper and the network of their training"
        )
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(state[name])
