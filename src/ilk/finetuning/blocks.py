"""The blocks of any network, in the order in which they run, found by running it once.

A block is a part that does its work as one: a residual block, a layer of a transformer, or a single
layer where a network has nothing larger. What stands alone between blocks, such as a normalization,
belongs to the next one, and at the end to the last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ilk.encoders import folding
from ilk.hub.preprocessing import Preprocess

BODY_SHARE = 0.5  # of a part's weights: with this share in its sequence of parts, it is not a block
SEQUENCES = (nn.Sequential, nn.ModuleList)


@dataclass(eq=False)
class Call:
    """What one part of a network did in a run.

    Attributes:
        name: Its name in the network.
        start: When its first call began, in calls and returns since the run began.
        end: When its last call returned.
        count: How often it was called.
        shape: Shape of its output, in lists and tuples if it is such; `...` if it holds anything
            but tensors.
    """

    name: str
    start: int
    end: int = -1
    count: int = 0
    shape: Any = ...


def make_probe(preprocess: Preprocess) -> Tensor:
    """Return two normalized images `[2, 3, h, w]` to run a network on."""
    return torch.from_numpy(preprocess.normalize(folding.make_probe(preprocess.size)))


def trace(network: nn.Module, probe: Tensor) -> dict[str, Call]:
    """Return what each part of a network does for images `[n, 3, h, w]`, by name, by start."""
    calls: dict[str, Call] = {}
    clock = 0
    hooks = []

    def watch(name: str, module: nn.Module) -> None:
        def before(_module: nn.Module, _inputs: Any) -> None:
            nonlocal clock
            clock += 1
            calls.setdefault(name, Call(name, clock)).count += 1

        def after(_module: nn.Module, _inputs: Any, output: Any) -> None:
            nonlocal clock
            clock += 1
            calls[name].end, calls[name].shape = clock, describe_shape(output)

        hooks.append(module.register_forward_pre_hook(before))
        hooks.append(module.register_forward_hook(after))

    for name, module in network.named_modules():
        if name:
            watch(name, module)
    try:
        with torch.no_grad():
            network(probe)
    finally:
        for hook in hooks:
            hook.remove()
    return dict(sorted(calls.items(), key=lambda item: item[1].start))


def describe_shape(output: Any) -> Any:
    """Return the shape of an output, in lists and tuples if it is such; `...` for other types."""
    if isinstance(output, Tensor):
        return output.shape
    if type(output) in (list, tuple):
        shapes = [describe_shape(part) for part in output]
        return ... if any(s is ... for s in shapes) else type(output)(shapes)
    return None if output is None else ...


def list_blocks(network: nn.Module, calls: Mapping[str, Call]) -> list[tuple[str, ...]]:
    """Return the names of the parts of each block, first block first.

    Args:
        network: The network.
        calls: What `trace` returned for it.
    """
    return _Blocks(network, calls).join()


@dataclass(eq=False)
class _Blocks:
    network: nn.Module
    calls: Mapping[str, Call]

    def __post_init__(self) -> None:
        self.parts = dict(self.network.named_modules())
        self.sizes = {name: self._measure(name) for name in self.parts}

    def _measure(self, name: str) -> int:
        """Return how many weights a part has, those of parts that did not run left out."""
        part = self.parts[name]
        own = int(sum(p.numel() for p in part.parameters(recurse=False)))
        if name and name not in self.calls and not isinstance(part, SEQUENCES):
            return own if not list(part.children()) else self._measure_children(name)
        return own + self._measure_children(name)

    def _measure_children(self, name: str) -> int:
        names = [self._join(name, child) for child, _ in self.parts[name].named_children()]
        return sum(self._measure(n) for n in names if n in self.parts and self._ran(n))

    def _ran(self, name: str) -> bool:
        return name in self.calls or any(c.startswith(f"{name}.") for c in self.calls)

    @staticmethod
    def _join(parent: str, child: str) -> str:
        return f"{parent}.{child}" if parent else child

    def _list_children(self, name: str) -> list[str]:
        children = [self._join(name, child) for child, _ in self.parts[name].named_children()]
        return [c for c in children if c in self.parts and self._ran(c)]

    def _is_taken_apart(self, name: str) -> bool:
        if not name or isinstance(self.parts[name], SEQUENCES) or name not in self.calls:
            return True
        body = [
            c for c in self._list_children(name) if self.sizes[c] >= BODY_SHARE * self.sizes[name]
        ]
        return any(list(self.parts[c].children()) and self._is_taken_apart(c) for c in body)

    def _list_units(self, name: str) -> list[str]:
        if not self._is_taken_apart(name):
            return [name]
        return [unit for child in self._list_children(name) for unit in self._list_units(child)]

    def join(self) -> list[tuple[str, ...]]:
        units = sorted(
            (u for u in self._list_units("") if u in self.calls), key=lambda u: self.calls[u].start
        )
        has_large = any(list(self.parts[u].children()) and self._has_matrix(u) for u in units)
        blocks: list[tuple[str, ...]] = []
        waiting: list[str] = []
        for unit in units:
            waiting.append(unit)
            is_block = self._has_matrix(unit) and (
                list(self.parts[unit].children()) or not has_large
            )
            if is_block:
                blocks.append(tuple(waiting))
                waiting = []
        if waiting and blocks:
            blocks[-1] += tuple(waiting)
        return blocks or ([tuple(waiting)] if waiting else [])

    def _has_matrix(self, name: str) -> bool:
        return any(p.dim() > 1 for p in self.parts[name].parameters())
