"""The bandwidth of memory, as one thread sees it."""

from __future__ import annotations

import time

import numpy as np


def measure_bandwidth(n_bytes: int, repeats: int = 5) -> float:
    """Return bytes per second of a copy, read and written bytes counted both, the best of some.

    Args:
        n_bytes: Size of what is copied; far more than the caches hold.
        repeats: Number of copies.
    """
    source = np.ones(n_bytes // 4, np.float32)
    target = np.zeros_like(source)
    best = np.inf
    for _ in range(repeats):
        start = time.perf_counter()
        np.copyto(target, source)
        best = min(best, time.perf_counter() - start)
    return 2 * source.nbytes / best
