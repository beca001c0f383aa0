"""Parts of a network that do not train."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from torch import nn

from ilk.core.errors import UnknownName

PREFIX = "Frozen"


def freeze(network: nn.Module, keep: Sequence[str] = ()) -> None:
    """Stop the training of a network, but for some parts of it, in place.

    Frozen parts get no gradients and stay in evaluation mode even when `network.train()` is called:
    batch normalization there keeps its statistics, and nothing is dropped. Freezing again replaces
    the choice. `deepcopy`, `state_dict` and `isinstance` work as before.

    Args:
        network: The network.
        keep: Names of parts or parameters that go on training, as `named_modules` and
            `named_parameters` give them, such as `"blocks.11"` and `"head"`.

    Raises:
        UnknownName: The network has no part of that name.
    """
    modules, parameters = dict(network.named_modules()), dict(network.named_parameters())
    for name in keep:
        if name not in modules and name not in parameters:
            raise UnknownName("part of the network", name, modules.keys() | parameters.keys())
    unfreeze(network)
    for name, parameter in parameters.items():
        parameter.requires_grad_(any(_is_inside(name, kept) for kept in keep))
    for name, module in modules.items():
        trains = any(_is_inside(name, kept) or _is_inside(kept, name) for kept in keep)
        if not trains:
            module.eval()
            module.__class__ = _make_frozen_class(module.__class__)


def unfreeze(network: nn.Module) -> None:
    """Undo `freeze`, in place: every parameter gets gradients and `train` works everywhere."""
    network.requires_grad_(True)
    for module in network.modules():
        cls = type(module)
        if cls.__dict__.get("is_frozen_part"):
            module.__class__ = cls.__bases__[0]


def _is_inside(name: str, outer: str) -> bool:
    """Whether the part `name` is `outer` or a part of it; the network itself is called ""."""
    return not outer or name == outer or name.startswith(f"{outer}.")


@cache
def _make_frozen_class(cls: type[nn.Module]) -> type[nn.Module]:
    """Return a subclass whose instances stay in evaluation mode."""

    def train(self: nn.Module, mode: bool = True) -> nn.Module:
        """Stay in evaluation mode."""
        return self

    return type(f"{PREFIX}{cls.__name__}", (cls,), {"train": train, "is_frozen_part": True})
