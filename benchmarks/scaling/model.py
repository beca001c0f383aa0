"""How long a cluster takes, from the measured parts of the work: on paper, with its assumptions.

With N images in shards of s, k nodes of c cores, one worker per core, t busy seconds per image, b
bytes per image through the shared disk and B bytes per second of it:

    compute   = list scheduling of ceil(N / s) shards of s t seconds on k c workers
    disk      = N b / B
    T(k)      = start + max(compute, disk)
    efficiency = T(1) / (k T(k))

Shards are handed out one by one to whoever is free, so that `compute` is at most N t / (k c) plus
the last shard, s t (R. L. Graham, 1969, Bounds on Multiprocessing Timing Anomalies); it is
simulated with shard times that vary as the measured ones do.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

ASSUMPTIONS = (
    "all nodes are as fast as this one, and a core does not slow the others down",
    "one worker per core, each with its own copy of the network, which fits in memory",
    "shards are handed out one by one; handing one out costs nothing against encoding it",
    "all nodes share one disk or bucket of the stated bandwidth; reading overlaps with computing",
    "no node is lost: a lost one costs its unfinished shards and its share of the rest",
    "features never pass between nodes, so that nodes only share the disk",
)


@dataclass(frozen=True)
class Work:
    """What is to be done.

    Attributes:
        seconds: Busy seconds of one core per image.
        spread: Coefficient of variation of the time of a shard.
        n_bytes: Bytes per image that are read and written.
        startup: Seconds before the first image, each time the command runs.
        n: Images.
    """

    seconds: float
    spread: float
    n_bytes: float
    startup: float
    n: int = 1_000_000


def predict_seconds(
    work: Work, nodes: int, cores: int, shard_size: int, bandwidth: float = math.inf, seed: int = 0
) -> float:
    """Return the seconds that `nodes` nodes of `cores` cores take.

    Args:
        work: What is to be done.
        nodes: Number of nodes.
        cores: Cores of each.
        shard_size: Images per shard.
        bandwidth: Bytes per second of the disk that they share.
        seed: Seed of the shard times.
    """
    n_shards = math.ceil(work.n / shard_size)
    sizes = np.full(n_shards, shard_size, float)
    sizes[-1] = work.n - shard_size * (n_shards - 1)
    noise = np.random.default_rng(seed).normal(1, work.spread, n_shards).clip(0.2)
    durations = sizes * work.seconds * noise / noise.mean()
    compute = schedule(durations.tolist(), nodes * cores)
    return work.startup + max(compute, work.n * work.n_bytes / bandwidth)


def schedule(durations: Sequence[float], workers: int) -> float:
    """Return when the last of the tasks ends, each taken in order by the first free worker."""
    free = [0.0] * min(workers, len(durations))
    for duration in durations:
        heapq.heapreplace(free, free[0] + duration)
    return max(free)


def make_table(
    work: Work,
    nodes: Sequence[int],
    cores: Sequence[int],
    shard_sizes: Sequence[int],
    bandwidths: Sequence[float],
) -> list[dict[str, Any]]:
    """Return hours and efficiency of every combination."""
    rows = []
    for c in cores:
        for size in shard_sizes:
            for bandwidth in bandwidths:
                one = predict_seconds(work, 1, c, size, bandwidth)
                for k in nodes:
                    seconds = predict_seconds(work, k, c, size, bandwidth)
                    rows.append(
                        {
                            "nodes": k,
                            "cores_per_node": c,
                            "shard_size": size,
                            "shards_per_worker": work.n / size / (k * c),
                            "disk_megabytes_per_second": bandwidth / 1e6,
                            "hours": seconds / 3600,
                            "images_per_second": work.n / seconds,
                            "efficiency": one / (k * seconds),
                        }
                    )
    return rows


def find_breaks(work: Work, cores: int, bandwidths: Sequence[float]) -> list[dict[str, float]]:
    """Return, by bandwidth, the number of nodes from which the shared disk is the limit."""
    rate = cores / work.seconds  # images per second of one node
    return [
        {
            "cores_per_node": cores,
            "disk_megabytes_per_second": bandwidth / 1e6,
            "nodes": bandwidth / (work.n_bytes * rate),
        }
        for bandwidth in bandwidths
    ]
