"""The contract of a wrapper: few trainable parameters around a frozen network."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ilk.core.errors import InputError
from ilk.peft.parts import Part, list_parts
from ilk.training.freezing import freeze, unfreeze

N = TypeVar("N", bound=nn.Module)


class Wrapper:
    """Settings of a wrapper; subclasses are frozen dataclasses, one per file of `wrappers/`.

    Attributes:
        is_mergeable: `merge` gives plain layers with the same outputs.
        learning_rate: A learning rate of AdamW that suits its parameters, without weight decay.
        needs: The layers without which it fits no network, for messages.
    """

    is_mergeable: ClassVar[bool] = True
    learning_rate: ClassVar[float] = 1e-3
    needs: ClassVar[str] = "linear layers or convolutions"

    @property
    def starts_exactly(self) -> bool:
        """Before training, the wrapped network gives the outputs of the pretrained one."""
        return True

    def make_parts(self, network: nn.Module) -> list[tuple[str, Part]]:
        """Return the parts for `network`, with the paths of the modules that get them."""
        raise NotImplementedError

    def apply(self, network: N) -> N:
        """Freeze `network` and put the wrapper's own parameters, which train, around its layers.

        Its layers stay in evaluation mode: batch normalization keeps its statistics.
        Call it before the network gets the head of a new task. Text towers, the first convolution
        and a class head (`head`, `fc` or `classifier`) are left as they are.

        Returns:
            `network` itself, changed in place.

        Raises:
            InputError: No layer fits, or the network has a wrapper already.
        """
        name = type(self).__name__
        if list_parts(network):
            raise InputError(
                f"the network has a wrapper already; merge or remove it before {name} is applied"
            )
        parts = self.make_parts(network)
        if not parts:
            raise InputError(
                f"{name} needs {self.needs}, and {type(network).__name__} has none that fit; "
                "choose another wrapper or tune the last layers"
            )
        network.requires_grad_(False)
        for module in network.modules():
            if isinstance(module, _BatchNorm) or not list(module.children()):
                freeze(module)
        for path, part in parts:
            part.attach(network, path)
        return network

    def merge(self, network: N) -> N:
        """Merge the wrapper into the weights of `network`: plain layers with the same outputs.

        Returns:
            `network` itself, changed in place and without the wrapper; all its parameters train.

        Raises:
            InputError: The wrapper is not one that can be merged.
        """
        if not self.is_mergeable:
            raise InputError(
                f"{type(self).__name__} cannot be merged into the network's weights; keep it "
                "around the network, or use LoRA, SVFit, BitFit or IA3"
            )
        unfreeze(network)  # also what was frozen after the wrapper was applied
        for path, part in list_parts(network):
            part.merge_into(network, path)
        unfreeze(network)
        return network

    def remove(self, network: N) -> N:
        """Take the wrapper off: `network` has the pretrained weights again, to the bit.

        Returns:
            `network` itself, changed in place; all its parameters train.
        """
        unfreeze(network)  # also what was frozen after the wrapper was applied
        for path, part in list_parts(network):
            part.detach(network, path)
        unfreeze(network)
        return network


def check_positive(wrapper: Wrapper, **values: float) -> None:
    """Raise InputError for the first of `values` that is not above 0."""
    for name, value in values.items():
        if not value > 0:
            raise InputError(f"{type(wrapper).__name__}: {name} is {value}; it must be above 0")
