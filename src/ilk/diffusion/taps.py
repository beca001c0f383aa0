"""What the blocks inside of any diffusion network give, all of them in one pass.

Blocks are counted from 1 in the order in which they run (`ilk.diffusion.trunk` says what counts as
one).
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

from ilk.diffusion.contract import UNKNOWN, Denoises
from ilk.diffusion.trunk import laid_out, trunk
from ilk.errors import InputError

Sink = Callable[[int, Tensor], Tensor | None]
"""Takes a block's number and its map `[n, c, h, w]`; what it gives back, if anything, goes on in
the map's place."""


@dataclass(frozen=True)
class Tap:
    """A block.

    Attributes:
        index: Its number, from 1.
        name: Where it lies in the network.
        channels: Of its map.
        side: Height of its map (the width has the same ratio to it as the image's).
    """

    index: int
    name: str
    channels: int
    side: int


class Enough(Exception):
    """The last block that was asked for has run; the rest of the pass would be for nothing."""


class Taps:
    """The blocks of a network, each watched. Several threads may run passes at once.

    Args:
        network: One of ours, or a `Converted` that holds a network of the diffusers library.

    Raises:
        InputError: There is no block in it that ilk knows.
    """

    def __init__(self, network: Denoises) -> None:
        self.network = network
        self.trunk = trunk(network)
        self.places, self.middle = laid_out(self.trunk)
        self._running = threading.local()
        modules = dict(self.trunk.named_modules())
        self._hooks = [
            modules[name].register_forward_hook(partial(self._passed, index))
            for index, name in enumerate(self.places, 1)
        ]

    def _passed(self, index: int, _module: nn.Module, _told: Any, out: Any) -> Any:
        sink: Sink | None = getattr(self._running, "sink", None)
        if sink is None:
            return None  # somebody else's pass
        found = out[-1] if isinstance(out, tuple) else out  # joint blocks give text, then image
        given = sink(index, self._map(found))
        if index == self._running.last:
            raise Enough
        if given is None:
            return None
        given = given if found.dim() == 4 else given.flatten(2).transpose(1, 2)
        return (*out[:-1], given) if isinstance(out, tuple) else given

    def _map(self, found: Tensor) -> Tensor:
        """Tokens `[n, h * w, c]` as a map `[n, c, h, w]`; a map as it is."""
        if found.dim() == 4:
            return found
        _, height, width = self.network.shape
        rows = isqrt(found.shape[1] * height // width)
        n, tokens, channels = found.shape
        return found.transpose(1, 2).reshape(n, channels, rows, tokens // rows)

    def run(self, noisy: Tensor, sigma: Tensor, sink: Sink, last: int = 0, told: int = -1) -> None:
        """One pass of the network on `noisy` `[n, c, h, w]` at `sigma` `[n]`.

        Args:
            noisy: `x + sigma * noise`.
            sigma: Noise levels.
            sink: Handed the map of every block in turn.
            last: The pass ends with this block; 0 lets it go on to its end.
            told: Class index that the network is told; -1 tells it none.
        """
        asked = torch.full((len(noisy),), told, dtype=torch.int64)
        condition = self.network.condition(asked).to(noisy.device)
        before = getattr(self._running, "sink", None), getattr(self._running, "last", 0)
        self._running.sink, self._running.last = sink, last
        try:
            self.network.denoise(noisy, sigma.to(noisy.device), condition)
        except Enough:
            pass
        finally:
            self._running.sink, self._running.last = before

    @cached_property
    def blocks(self) -> tuple[Tap, ...]:
        """What there is to see; takes one pass with a blank image."""
        found: list[Tap] = []

        def note(index: int, seen: Tensor) -> None:
            found.append(Tap(index, self.places[index - 1], seen.shape[1], seen.shape[2]))

        with torch.no_grad():
            blank = torch.zeros(1, *self.network.shape, device=self.device)
            self.run(blank, torch.tensor([self.network.sigmas[1]]), note)
        return tuple(found)

    @property
    def device(self) -> torch.device:
        """Where the network's weights lie."""
        weight = next(self.trunk.parameters(), None)
        return torch.device("cpu") if weight is None else weight.device

    def check(self, index: int) -> Tap:
        """The block of number `index`.

        Raises:
            InputError: There is none.
        """
        if not 1 <= index <= len(self.places):
            raise InputError(
                f"this network has no block {index}; its {len(self.places)} blocks are counted "
                f"from 1, and {self.middle} is the middle"
            )
        return self.blocks[index - 1]

    def mirror(self, index: int) -> int:
        """The block on the other side of the middle: `2 * middle - index`, 38 - index of 37."""
        return 2 * self.middle - index

    def __deepcopy__(self, _memo: dict[int, Any]) -> Taps:
        return self  # a copy of a head still watches the one network

    def close(self) -> None:
        """Leave the network as it was; `contextlib.closing` does it at the end of a block."""
        for hook in self._hooks:
            hook.remove()


def blocks(network: Denoises) -> tuple[Tap, ...]:
    """The blocks of `network`; raises what `Taps` raises."""
    with closing(Taps(network)) as taps:
        return taps.blocks


@torch.no_grad()
def maps(
    taps: Taps,
    x: Tensor,
    sigma: float,
    noise: Tensor,
    wanted: Collection[int] = (),
    told: int = UNKNOWN,
) -> dict[int, Tensor]:
    """Maps `[n, c, h, w]` by block number, from one pass that ends with the last block wanted.

    Args:
        taps: Of the network.
        x: Clean images `[n, c, h, w]` in [-1, 1], where the network is.
        sigma: Noise level.
        noise: Standard normal, `[c, h, w]` (the same for every image) or `[n, c, h, w]`.
        wanted: Block numbers; none means all.
        told: Class index that the network is told; -1 tells it none.

    Raises:
        InputError: There is no such block.
    """
    for index in wanted:
        taps.check(index)
    found: dict[int, Tensor] = {}

    def keep(index: int, seen: Tensor) -> None:
        if not wanted or index in wanted:
            found[index] = seen

    noisy = x + sigma * noise.to(x)
    level = torch.full((len(x),), sigma, device=x.device)
    taps.run(noisy, level, keep, max(wanted, default=0), told)
    return found
