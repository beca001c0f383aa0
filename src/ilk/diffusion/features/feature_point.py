"""Feature points and the configuration of feature extraction."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from ilk.core.errors import InputError
from ilk.diffusion.features.hooks import Hook, Hooks


@dataclass(frozen=True)
class FeaturePoint:
    """Where features are extracted.

    Attributes:
        block: Number of the block, from 1.
        sigma: Noise level, on the scale of `Denoises`.
        pool: Size p of the pooled map, giving `c * p^2` features; 0 is the mean and standard
            deviation of each channel, `2 * c` features.

    Raises:
        InputError: A number is out of range.
    """

    block: int
    sigma: float
    pool: int = 2

    def __post_init__(self) -> None:
        if self.block < 1 or not 0 < self.sigma < math.inf or self.pool < 0:
            raise InputError(
                f"{self} is not a feature point: block must be >= 1, sigma > 0 and pool >= 0"
            )

    def __str__(self) -> str:
        return f"block={self.block},sigma={self.sigma!r},pool={self.pool}"

    @classmethod
    def parse(cls, text: str) -> FeaturePoint:
        """Parse `block=9,sigma=0.4,pool=2`; pool defaults to 2.

        Raises:
            InputError: The text is malformed.
        """
        pattern = r"block=(\d{1,4}),sigma=(\d*\.?\d+(?:e[-+]?\d+)?)(?:,pool=(\d{1,3}))?"
        match = re.fullmatch(pattern, text)
        if not match:
            raise InputError(
                f"{text!r} is not a feature point; write block=NUMBER,sigma=LEVEL,pool=SIDE, "
                "such as block=9,sigma=0.4,pool=2"
            )
        block, sigma, pool = match.groups()
        return cls(int(block), float(sigma), int(pool or 2))

    def count_features(self, hook: Hook) -> int:
        """Return the number of features at `hook`."""
        return hook.channels * (self.pool**2 or 2)

    def check(self, hooks: Hooks) -> Hook:
        """Return the block of this point.

        Raises:
            InputError: The network has no such block, was trained on less noise, or has a smaller
                map.
        """
        hook, high = hooks.get_block(self.block), hooks.network.sigmas[1]
        if self.sigma > high:
            raise InputError(
                f"sigma {self.sigma:g} is above what this network was trained on, up to {high:.4g}"
            )
        if self.pool > hook.side:
            raise InputError(
                f"pool {self.pool} is finer than the map of block {self.block}, which is "
                f"{hook.side} high; use a pool of 0 to {hook.side}"
            )
        return hook


@dataclass(frozen=True)
class FeatureConfig:
    """How features are extracted.

    Attributes:
        seed: Seed of the noise.
        draws: Number of noise draws that features are averaged over.
        batch: Batch size.
        precision: `float32` or `bfloat16`, of the network; features are always float32.
        per_image_noise: Seed the noise by the pixels of each image, to compare with the fresh noise
            of the papers.

    Raises:
        InputError: A value is out of range.
    """

    seed: int = 0
    draws: int = 1
    batch: int = 64
    precision: str = "float32"
    per_image_noise: bool = False

    def __post_init__(self) -> None:
        if self.draws < 1 or self.batch < 1:
            raise InputError(f"{self.draws} draws and batch size {self.batch} must be at least 1")
        if self.precision not in ("float32", "bfloat16"):
            raise InputError(f"unknown precision {self.precision!r}; choose float32 or bfloat16")


DEFAULT_FEATURES = FeatureConfig()
