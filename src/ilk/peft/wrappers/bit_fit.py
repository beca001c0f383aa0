"""BitFit: only the biases train.

Elad Ben Zaken, Shauli Ravfogel, Yoav Goldberg, 2022, BitFit: Simple Parameter-efficient Fine-tuning
for Transformer-based Masked Language-models, arXiv 2106.10199. The trained parameters are offsets
from the pretrained biases, 0 at the start, so that weight decay pulls towards these.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from ilk.peft.layers import iterate_modules
from ilk.peft.parts import NAME, Part
from ilk.peft.wrapper import Wrapper


class Offset(Part):
    """What is added to the bias of a module, whatever the module does with its bias.

    The module becomes one of a subclass, whose `bias` is the sum; its parameter stays as it is.
    """

    def __init__(self, bias: Tensor) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.zeros_like(bias))

    def attach(self, network: nn.Module, path: str) -> None:
        module = network.get_submodule(path)
        module.add_module(NAME, self)
        kind: Any = type(module)
        module.__class__ = _make_offset_class(kind)

    def detach(self, network: nn.Module, path: str) -> None:
        module = network.get_submodule(path.rpartition(".")[0])
        module.__class__ = module.__class__.__bases__[0]
        delattr(module, NAME)

    def merge(self, layer: nn.Module) -> None:
        assert isinstance(layer.bias, Tensor), "only modules with a bias have this part"
        layer.bias += self.offset


@cache
def _make_offset_class(cls: type[nn.Module]) -> type[nn.Module]:
    """Return a subclass of `cls` whose `bias` is the pretrained one and the offset of the part."""

    def get_bias(self: nn.Module) -> Tensor:
        bias, part = self._parameters["bias"], self._modules[NAME]
        assert isinstance(bias, Tensor), "only modules with a bias have this part"
        assert isinstance(part, Offset), "what `attach` put there"
        return bias + part.offset

    return type(f"Offset{cls.__name__}", (cls,), {"bias": property(get_bias)})


@dataclass(frozen=True)
class BitFit(Wrapper):
    """Offsets of the biases of all layers and normalizations: as many parameters as these have."""

    learning_rate = 1e-2
    needs = "layers with biases"

    def make_parts(self, network: nn.Module) -> list[tuple[str, Part]]:
        return [
            (path, Offset(bias))
            for path, module in iterate_modules(network)
            if (bias := module._parameters.get("bias")) is not None
        ]
