"""Runs of the later part of a convolutional network with one layer's output replaced.

Batch norm is folded into the convolution before it first, so that a unit is a channel with its
scale and shift, and replacing it changes nothing else.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ilk.core.data import Features
from ilk.core.errors import Unavailable
from ilk.encoders.folding import Plan, find_plan

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Conv2d, Module


@dataclass(frozen=True, eq=False)
class Layer:
    """A convolution that ran once, and the channels that it makes: its units.

    Attributes:
        conv: The convolution.
        unit: The last module that changes its output without mixing places or channels, such as
            the activation; the convolution itself where there is none.
        x: Input of the convolution, `[n, c, h, w]`.
        output: Output of the convolution, `[n, units, h', w']`.
        activation: Output of `unit`, `[n, units, h', w']`.
    """

    conv: Conv2d
    unit: Module
    x: Tensor
    output: Tensor
    activation: Tensor

    @property
    def n_units(self) -> int:
        """Number of channels."""
        return int(self.output.shape[1])


class InterventionRunner:
    """A network with what its layers gave for some images.

    Args:
        network: Images -> features or logits `[n, d]`, in evaluation mode; it is not changed.
        images: What the network takes, `[n, c, h, w]`.

    Raises:
        Unavailable: The network does not convolve: it has no convolution, or they cut out patches.
    """

    def __init__(self, network: Module, images: Tensor) -> None:
        if not _overlaps(network):
            raise Unavailable(
                "causal paths need a convolutional network; use --method rise or occlusion"
            )
        plan = find_plan(network, images[:2])
        self.network = Plan(plan.pairs).apply(copy.deepcopy(network))
        self.images = images
        self.layers: list[Layer] = []
        self._cached: list[tuple[Any, Tensor]] = []  # convolutions and linear layers, in order
        self.features = self._record()

    def _record(self) -> Features:
        """Run the network once; find its layers."""
        import torch
        from torch import nn

        calls: Counter[int] = Counter()
        records: list[tuple[Module, Tensor, Tensor]] = []
        chain: dict[int, int] = {}  # id of a tensor -> position of the layer that made it
        tails: list[list[Any]] = []
        kept: list[Tensor] = []  # so that no id is used twice

        def after(module: Module, inputs: tuple[Any, ...], output: Any) -> None:
            calls[id(module)] += 1
            if not isinstance(output, torch.Tensor) or not inputs:
                return
            kept.append(output)
            if isinstance(module, nn.Conv2d | nn.Linear):
                records.append((module, inputs[0].clone(), output.clone()))
                if isinstance(module, nn.Conv2d) and output.shape[2] * output.shape[3] > 1:
                    chain[id(output)] = len(tails)
                    tails.append([module, inputs[0].clone(), output.clone(), module, None])
                return
            place = chain.get(id(inputs[0]))
            if place is not None and output.shape == tails[place][2].shape:
                chain[id(output)] = place
                tails[place][3:] = [module, output.clone()]

        leaves = [m for m in self.network.modules() if not any(True for _ in m.children())]
        hooks = [m.register_forward_hook(after) for m in leaves]
        try:
            with torch.inference_mode():
                out = self.network(self.images)
        finally:
            for hook in hooks:
                hook.remove()
        self._cached = [(m, o) for m, _, o in records if calls[id(m)] == 1]
        for conv, x, output, unit, activation in tails:
            if calls[id(conv)] == 1 and calls[id(unit)] == 1:
                made = output if activation is None else activation
                self.layers.append(Layer(conv, unit, x, output, made))
        if not self.layers:
            raise Unavailable("causal paths need a convolution that runs once per image")
        return np.asarray(out.numpy(), np.float32)

    def run_with(self, module: Module, replacement: Tensor) -> Features:
        """Return features `[m n, d]` where `module` gives `replacement [m n, ...]` instead.

        What ran before it is not computed again.
        """
        import torch

        m = len(replacement) // len(self.images)
        with torch.inference_mode():
            try:  # a chain of layers: nothing before the module is needed
                with self._patched(module, replacement, 1):
                    out = self.network(self.images)
            except RuntimeError:  # a shortcut around the module: its rows have to be as many
                with self._patched(module, replacement, m):
                    out = self.network(self.images.repeat(m, 1, 1, 1))
        if len(out) != len(replacement):
            with self._patched(module, replacement, m), torch.inference_mode():
                out = self.network(self.images.repeat(m, 1, 1, 1))
        return np.asarray(out.numpy(), np.float32)

    @contextmanager
    def _patched(self, module: Module, replacement: Tensor, m: int) -> Iterator[None]:
        """Let `module` give the replacement, and layers before it what they gave, m times."""
        patched: list[Any] = []
        before = _list_before(module, [layer for layer, _ in self._cached], self.layers)
        try:
            for layer, output in self._cached:
                if layer in before:
                    layer.forward = _give(
                        output.repeat(m, 1, 1, 1) if output.dim() == 4 else output
                    )
                    patched.append(layer)
            module.forward = _give(replacement)
            patched.append(module)
            yield
        finally:
            for layer in patched:
                del layer.forward


def _overlaps(network: Module) -> bool:
    """Whether some convolution reads places that its neighbour reads too, unlike cut patches."""
    from torch import nn

    return any(
        any(size > step for size, step in zip(m.kernel_size, m.stride, strict=True))
        for m in network.modules()
        if isinstance(m, nn.Conv2d)
    )


def _give(output: Tensor) -> Any:
    return lambda *_args, **_kwargs: output.clone()  # a later layer may work in place


def _list_before(module: Module, order: list[Any], layers: list[Layer]) -> list[Any]:
    """Return the convolutions and linear layers that ran before a module's output was made."""
    if module in order:
        return order[: order.index(module)]
    conv = next(layer.conv for layer in layers if layer.unit is module)
    return order[: order.index(conv) + 1]
