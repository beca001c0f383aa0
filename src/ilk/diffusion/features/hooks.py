"""Forward hooks that return the outputs of the blocks of a diffusion network in one call.

Blocks are counted from 1 in order of execution (`ilk.diffusion.networks.trunk` defines them).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn

from ilk.core.errors import InputError
from ilk.diffusion.denoiser.protocol import UNCONDITIONAL, Denoises
from ilk.diffusion.networks.trunk import find_backbone, list_block_names

MapCallback = Callable[[int, Tensor], Tensor | None]
"""Takes the number of a block and its map `[n, c, h, w]`; a returned map replaces it."""


@dataclass(frozen=True)
class Hook:
    """A block of a network.

    Attributes:
        index: Its number, from 1.
        name: Its name in the network.
        channels: Channels of its map.
        side: Height of its map; the width scales like that of the image.
    """

    index: int
    name: str
    channels: int
    side: int


class StopForward(Exception):
    """Raised to end the forward pass after the last requested block."""


class Hooks:
    """Forward hooks on all blocks of a network; several threads may run passes at once.

    Args:
        network: A denoiser of ilk, or an `ExternalDenoiser` around a network of diffusers.

    Raises:
        InputError: It has no supported backbone.
    """

    def __init__(self, network: Denoises) -> None:
        self.network = network
        self.backbone = find_backbone(network)
        self.block_names, self.middle = list_block_names(self.backbone)
        self._pass_state = threading.local()
        modules = dict(self.backbone.named_modules())
        self._handles = [
            modules[name].register_forward_hook(partial(self._on_forward, index))
            for index, name in enumerate(self.block_names, 1)
        ]

    def _on_forward(self, index: int, _module: nn.Module, _inputs: Any, output: Any) -> Any:
        callback: MapCallback | None = getattr(self._pass_state, "sink", None)
        if callback is None:
            return None  # a pass of another caller
        block_output = (
            output[-1] if isinstance(output, tuple) else output
        )  # joint blocks give text, then image
        replacement = callback(index, self._to_map(block_output))
        if index == self._pass_state.last:
            raise StopForward
        if replacement is None:
            return None
        replacement = (
            replacement if block_output.dim() == 4 else replacement.flatten(2).transpose(1, 2)
        )
        return (*output[:-1], replacement) if isinstance(output, tuple) else replacement

    def _to_map(self, output: Tensor) -> Tensor:
        """Reshape tokens `[n, h * w, c]` to a map `[n, c, h, w]`; maps are returned unchanged."""
        if output.dim() == 4:
            return output
        _, height, width = self.network.shape
        rows = isqrt(output.shape[1] * height // width)
        n, tokens, channels = output.shape
        return output.transpose(1, 2).reshape(n, channels, rows, tokens // rows)

    def run_pass(
        self,
        noisy: Tensor,
        sigma: Tensor,
        callback: MapCallback,
        last_block: int = 0,
        label: int = -1,
    ) -> None:
        """Run the network on `noisy` `[n, c, h, w]` at noise levels `sigma` `[n]`.

        Args:
            noisy: `x + sigma * noise`.
            sigma: Noise levels. Below the lowest level of its training, the network is conditioned
                on that level: it sees a clearer image than it expects.
            callback: Called with the map of every block in turn.
            last_block: Block after which the pass ends; 0 runs it to the end.
            label: Class index of the condition; -1 is unconditional.
        """
        labels = torch.full((len(noisy),), label, dtype=torch.int64)
        condition = self.network.condition(labels).to(noisy.device)
        previous = getattr(self._pass_state, "sink", None), getattr(self._pass_state, "last", 0)
        self._pass_state.sink, self._pass_state.last = callback, last_block
        try:
            level = sigma.clamp(min=self.network.sigmas[0]).to(noisy.device)
            self.network.denoise(noisy, level, condition)
        except StopForward:
            pass
        finally:
            self._pass_state.sink, self._pass_state.last = previous

    @cached_property
    def blocks(self) -> tuple[Hook, ...]:
        """The blocks; runs one pass on a blank image."""
        hooks: list[Hook] = []

        def record(index: int, block_map: Tensor) -> None:
            hooks.append(
                Hook(index, self.block_names[index - 1], block_map.shape[1], block_map.shape[2])
            )

        with torch.no_grad():
            blank = torch.zeros(1, *self.network.shape, device=self.device)
            self.run_pass(blank, torch.tensor([self.network.sigmas[1]]), record)
        return tuple(hooks)

    @property
    def device(self) -> torch.device:
        """Device of the network's weights."""
        weight = next(self.backbone.parameters(), None)
        return torch.device("cpu") if weight is None else weight.device

    def get_block(self, index: int) -> Hook:
        """Return the block number `index`.

        Raises:
            InputError: There is none.
        """
        if not 1 <= index <= len(self.block_names):
            raise InputError(
                f"this network has no block {index}; its {len(self.block_names)} blocks are "
                f"counted from 1, and {self.middle} is the middle"
            )
        return self.blocks[index - 1]

    def mirror_index(self, index: int) -> int:
        """Return the block on the other side of the middle: `2 * middle - index`."""
        return 2 * self.middle - index

    def __deepcopy__(self, _memo: dict[int, Any]) -> Hooks:
        return self  # a copied head still uses the same network

    def close(self) -> None:
        """Remove the hooks; `contextlib.closing` calls this at the end of a block."""
        for handle in self._handles:
            handle.remove()


def list_blocks(network: Denoises) -> tuple[Hook, ...]:
    """Return the blocks of `network`; raises as `Hooks`."""
    with closing(Hooks(network)) as hooks:
        return hooks.blocks


@torch.no_grad()
def extract_maps(
    hooks: Hooks,
    x: Tensor,
    sigma: float,
    noise: Tensor,
    block_indices: Collection[int] = (),
    label: int = UNCONDITIONAL,
) -> dict[int, Tensor]:
    """Return maps `[n, c, h, w]` by block number, from one pass that ends with the last of them.

    Args:
        hooks: Hooks of the network.
        x: Clean images `[n, c, h, w]` in [-1, 1], on the device of the network.
        sigma: Noise level.
        noise: Standard normal, `[c, h, w]` (shared by all images) or `[n, c, h, w]`.
        block_indices: Block numbers; empty for all.
        label: Class index of the condition; -1 is unconditional.

    Raises:
        InputError: There is no such block.
    """
    for index in block_indices:
        hooks.get_block(index)
    collected: dict[int, Tensor] = {}

    def collect(index: int, block_map: Tensor) -> None:
        if not block_indices or index in block_indices:
            collected[index] = block_map

    noisy = x + sigma * noise.to(x)
    level = torch.full((len(x),), sigma, device=x.device)
    hooks.run_pass(noisy, level, collect, max(block_indices, default=0), label)
    return collected
