"""Features like those of a pretrained network: a decaying spectrum, not negative, k classes."""

from __future__ import annotations

import numpy as np

from ilk.core.data import Data

CHUNK_SIZE = 4096


def make_features(n: int, d: int, k: int, seed: int = 0, distance: float = 0.35) -> Data:
    """Return `n` rows of `d` float32 features and `k` classes, made in chunks."""
    rng = np.random.default_rng(seed)
    rank = min(d, 200)
    std = (1 + np.arange(rank, dtype=np.float32)) ** -0.35
    mix = (rng.normal(size=(rank, d)) / np.sqrt(rank)).astype(np.float32)
    means = (rng.normal(size=(k, rank)) * distance * std).astype(np.float32)
    y = rng.permutation(np.arange(n) % k)
    x = np.empty((n, d), np.float32)
    for at in range(0, n, CHUNK_SIZE):
        part = y[at : at + CHUNK_SIZE]
        z = means[part] + std * rng.standard_normal((len(part), rank), np.float32)
        noise = 0.15 * rng.standard_normal((len(part), d), np.float32)
        x[at : at + CHUNK_SIZE] = np.maximum(z @ mix + noise + np.float32(0.1), 0)
    return Data(x, y, tuple(f"class {c}" for c in range(k)))
