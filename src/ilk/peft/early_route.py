"""Early blocks that run frozen, and what their outputs become before the last blocks.

Nothing before the combination has a parameter that trains, so PyTorch keeps no activation of it for
the backward pass; memory is that of the last blocks and of the combination.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.core.errors import InputError
from ilk.peft.layers import iterate_modules
from ilk.peft.parts import Replacement

WEIGHTED = (nn.Linear, nn.Conv2d, nn.BatchNorm2d)


class EarlyRoute(Replacement):
    """Early blocks in a row, and `combine`, which makes one of their outputs.

    Attributes:
        widths: Width of the output of each early block.
    """

    def __init__(self, blocks: list[nn.Module]) -> None:
        super().__init__()
        self.inner = nn.ModuleList(blocks)
        self.widths = [find_width(block) for block in blocks]

    def attach(self, network: nn.Module, path: str) -> None:
        """Take the place of the early blocks in the container at `path`."""
        container: Any = network.get_submodule(path)
        refill(container, [self, *list(container)[len(self.widths) :]])

    def detach(self, network: nn.Module, path: str) -> None:
        container: Any = network.get_submodule(path.rpartition(".")[0])
        blocks: Any = self.inner
        refill(container, [*blocks, *list(container)[1:]])

    def combine(self, outputs: list[Tensor]) -> Tensor:
        """Return `[..., width]` of the outputs `[..., width]` of the early blocks."""
        raise NotImplementedError

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Return what the last early block returns, with the combination as its tensor."""
        outputs: list[Tensor] = []
        blocks: Any = self.inner
        y: Any = x
        for block in blocks:
            y = block(x, *args, **kwargs)
            x = y[0] if isinstance(y, tuple) else y
            outputs.append(x)
        is_map = x.ndim == 4 and x.shape[1] == self.widths[-1]
        if is_map:  # channels come last, all maps have the size of the last one
            size = (x.shape[2], x.shape[3])
            maps = [functional.adaptive_avg_pool2d(map_, size) for map_ in outputs]
            outputs = [map_.permute(0, 2, 3, 1) for map_ in maps]
        combined = self.combine(outputs)
        if is_map:
            combined = combined.permute(0, 3, 1, 2)
        return (combined, *y[1:]) if isinstance(y, tuple) else combined


def refill(container: Any, modules: Iterable[nn.Module]) -> None:
    """Replace the children of an `nn.Sequential` or an `nn.ModuleList`."""
    for _ in range(len(container)):
        del container[-1]
    for module in modules:
        container.append(module)


def find_width(block: nn.Module) -> int:
    """Return the width of the output of a block: that of its last layer."""
    last = [m for m in block.modules() if isinstance(m, WEIGHTED)][-1]
    return last.num_features if isinstance(last, nn.BatchNorm2d) else len(last.weight)


def find_blocks(network: nn.Module, late: int) -> tuple[str, list[nn.Module]] | None:
    """Return the path of the longest chain of blocks, and the blocks before the last `late`.

    Raises:
        InputError: Fewer than two blocks come before the last `late`.
    """
    chains: dict[str, Any] = {
        path: module
        for path, module in iterate_modules(network)
        if isinstance(module, nn.Sequential | nn.ModuleList)
        and len(module) > 1
        and all(sum(isinstance(m, WEIGHTED) for m in child.modules()) > 1 for child in module)
    }
    if not chains:
        return None
    path = max(chains, key=lambda p: len(chains[p]))
    blocks = list(chains[path])
    if late < 1 or len(blocks) - late < 2:
        raise InputError(
            f"late is {late}, and {path} has {len(blocks)} blocks; at least 1 must come late and "
            "2 before"
        )
    return path, blocks[:-late]


def make_linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """Return a linear layer with random weights; the bias is 0."""
    layer = nn.Linear(inputs, outputs)
    with torch.no_grad():
        layer.weight.copy_(
            (2 * torch.rand(outputs, inputs, generator=generator) - 1) * inputs**-0.5
        )
        layer.bias.zero_()
    return layer
