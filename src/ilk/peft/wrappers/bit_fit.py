"""BitFit: only the biases train.

Elad Ben Zaken, Shauli Ravfogel, Yoav Goldberg, 2022, BitFit: Simple Parameter-efficient Fine-tuning
for Transformer-based Masked Language-models, arXiv 2106.10199. The trained parameters are offsets
from the pretrained biases, 0 at the start, so that weight decay pulls towards these.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ilk.peft.layers import iterate_modules
from ilk.peft.parts import Part
from ilk.peft.wrapper import Wrapper

ENDING = ".parametrizations.bias.0"


class Offset(Part):
    """What is added to the bias of a module, whatever the module does with its bias."""

    def __init__(self, bias: Tensor) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.zeros_like(bias))

    def forward(self, bias: Tensor, _: Tensor | None = None) -> Tensor:
        """Return the bias that the module uses."""
        return bias + self.offset

    def attach(self, network: nn.Module, path: str) -> None:
        parametrize.register_parametrization(network.get_submodule(path), "bias", self)

    def detach(self, network: nn.Module, path: str) -> None:
        module = network.get_submodule(path.removesuffix(ENDING))
        parametrize.remove_parametrizations(module, "bias", leave_parametrized=False)

    def merge_into(self, network: nn.Module, path: str) -> None:
        module = network.get_submodule(path.removesuffix(ENDING))
        parametrize.remove_parametrizations(module, "bias", leave_parametrized=True)


@dataclass(frozen=True)
class BitFit(Wrapper):
    """Offsets of the biases of all layers and normalizations: as many parameters as these have."""

    learning_rate = 1e-2
    needs = "layers with biases"

    def make_parts(self, network: nn.Module) -> list[tuple[str, Part]]:
        return [
            (path, Offset(module.bias))
            for path, module in iterate_modules(network)
            if isinstance(module._parameters.get("bias"), nn.Parameter)
            and isinstance(module.bias, Tensor)
        ]
