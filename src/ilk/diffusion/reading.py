"""Where and how features are read: block, noise level, pooling; seed, draws, precision."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from ilk.diffusion.taps import Tap, Taps
from ilk.errors import InputError


@dataclass(frozen=True)
class Point:
    """Where features are read.

    Attributes:
        block: Number of the block, from 1.
        sigma: Noise level, on the scale of `Denoises`.
        pool: Side p of the pooled map: `c * p * p` numbers; 0 takes mean and standard deviation of
            each channel, `2 * c` numbers.
    """

    block: int
    sigma: float
    pool: int = 2

    def __post_init__(self) -> None:
        if self.block < 1 or not 0 < self.sigma < math.inf or self.pool < 0:
            raise InputError(
                f"{self} is no place to read features: blocks are counted from 1, "
                "sigma is above 0 and pool 0 or more"
            )

    def __str__(self) -> str:
        return f"block={self.block},sigma={self.sigma!r},pool={self.pool}"

    @classmethod
    def read(cls, text: str) -> Point:
        """What `block=9,sigma=0.4,pool=2` says; pool is 2 when it is left out.

        Raises:
            InputError: It says no such thing.
        """
        form = r"block=(\d{1,4}),sigma=(\d*\.?\d+(?:e[-+]?\d+)?)(?:,pool=(\d{1,3}))?"
        found = re.fullmatch(form, text)
        if not found:
            raise InputError(
                f"{text!r} is no place to read features; write block=NUMBER,sigma=LEVEL,pool=SIDE, "
                "such as block=9,sigma=0.4,pool=2"
            )
        block, sigma, pool = found.groups()
        return cls(int(block), float(sigma), int(pool or 2))

    def width(self, tap: Tap) -> int:
        """How many numbers it gives, read at `tap`."""
        return tap.channels * (self.pool**2 or 2)

    def check(self, taps: Taps) -> Tap:
        """The block it is read at.

        Raises:
            InputError: The network has no such block, level or so fine a map.
        """
        tap, (low, high) = taps.check(self.block), taps.network.sigmas
        if not low <= self.sigma <= high:
            raise InputError(
                f"sigma {self.sigma:g} is outside of what this network was trained on, "
                f"{low:.4g} to {high:.4g}"
            )
        if self.pool > tap.side:
            raise InputError(
                f"pool {self.pool} is finer than the map of block {self.block}, which is "
                f"{tap.side} high; take a pool of 0 to {tap.side}"
            )
        return tap


@dataclass(frozen=True)
class Reading:
    """How features are read.

    Attributes:
        seed: Of the noise.
        draws: Passes a level, each with noise of its own, that features are averaged over.
        batch: Images at once.
        precision: `float32`, or `bfloat16` for the network; features are float32 always.
        own: Noise of its own for each image (seeded by its pixels, so that it still depends on
            nothing else), as fresh noise would be: for the comparison with the papers.
    """

    seed: int = 0
    draws: int = 1
    batch: int = 64
    precision: str = "float32"
    own: bool = False

    def __post_init__(self) -> None:
        if self.draws < 1 or self.batch < 1:
            raise InputError(
                f"{self.draws} draws of noise on {self.batch} images at once give no features; "
                "take at least 1 of each"
            )
        if self.precision not in ("float32", "bfloat16"):
            raise InputError(f"no precision is called {self.precision!r}: float32 or bfloat16")


PLAIN = Reading()
