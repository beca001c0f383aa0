"""Simulated features of any number of rows, made block by block."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ilk.encoders import resolve_encoder
from ilk.shards.features import write_features

ENCODER = "pixels/16x16x3"  # has 768 features, and a model of them can be saved
BLOCK = 5000
SEPARATION = 0.09  # of class means, in units in which features vary by 0.3 to 2
TEST_SHARE = 0.1


class Simulation:
    """Classes with one covariance whose rows differ in length, as those of networks do.

    Args:
        d: Number of features.
        k: Number of classes.
        seed: Seed of everything.
    """

    def __init__(self, d: int = 768, k: int = 100, seed: int = 0) -> None:
        rng = np.random.default_rng([seed, 1])
        self.means = (SEPARATION * rng.normal(size=(k, d))).astype(np.float32)
        self.scale = np.linspace(0.3, 2.0, d).astype(np.float32)
        self.k, self.seed = k, seed

    def draw_labels(self, n: int) -> NDArray[np.int64]:
        """Return the classes of the first `n` rows."""
        return np.random.default_rng([self.seed, 2]).integers(0, self.k, n)

    def draw_block(self, y: NDArray[np.int64], number: int) -> NDArray[np.float16]:
        """Return the rows `[b, d]` of block `number` with classes `y [b]`."""
        rng = np.random.default_rng([self.seed, 3, number])
        noise = rng.standard_normal((len(y), len(self.scale)), dtype=np.float32) * self.scale
        length = np.exp(0.2 * rng.standard_normal((len(y), 1), dtype=np.float32))
        return np.asarray(self.means[y] + length * noise, np.float16)

    def iterate(self, y: NDArray[np.int64]) -> Iterator[NDArray[np.float16]]:
        """Yield the rows of classes `y [n]`, block by block."""
        for number, start in enumerate(range(0, len(y), BLOCK)):
            yield self.draw_block(y[start : start + BLOCK], number)


def write_shards(folder: Path, n: int, simulation: Simulation) -> None:
    """Write a shard folder of `n` rows as float16, a tenth of them held out."""
    y = simulation.draw_labels(n)
    is_test = np.random.default_rng([simulation.seed, 4]).random(n) < TEST_SHARE
    space = resolve_encoder(ENCODER).space
    if len(simulation.scale) != space.dim:
        raise ValueError(f"{space.dim} features are needed, not {len(simulation.scale)}")
    write_features(
        folder,
        simulation.iterate(y),
        [f"class {c:03}" for c in y],
        splits=["test" if held_out else "train" for held_out in is_test],
        shard_size=BLOCK,
        dtype="float16",
        name=ENCODER,
        key=space.key,
    )
