"""How many workers a Ray cluster gets, and what each of them takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ilk.core.errors import InputError
from ilk.shards.engines import EngineOptions


@dataclass(frozen=True)
class ActorPlan:
    """How many workers, and what each takes: cores, at least one of which are its threads."""

    n: int
    cpus: float
    gpus: float

    @property
    def n_threads(self) -> int:
        """Threads of each worker."""
        return max(1, int(self.cpus))

    def describe(self) -> str:
        """Say it in words."""
        gpus = f" and {self.gpus:g} GPU{'s' * (self.gpus > 1)}" if self.gpus else ""
        return (
            f"{self.n:,} worker{'s' * (self.n > 1)} with {self.cpus:g} "
            f"core{'s' * (self.cpus > 1)}{gpus} each"
        )


def plan_actors(
    resources: Mapping[str, float], options: EngineOptions, n_shards: int, uses_gpu: bool
) -> ActorPlan:
    """Return how many workers a cluster gets.

    A worker takes a core by default; where the cluster has GPUs and the encoder can use one, it
    takes a GPU and an equal part of the cores.

    Args:
        resources: What the cluster has, as `ray.cluster_resources` returns it.
        options: What the user asks for.
        n_shards: Number of shards, beyond which a worker would have nothing to do.
        uses_gpu: Whether the encoder can use a GPU.

    Raises:
        InputError: A number is out of range.
    """
    cores, devices = max(1.0, resources.get("CPU", 0.0)), resources.get("GPU", 0.0)
    gpus = options.gpus_per_actor
    if gpus is None:
        gpus = 1.0 if devices and uses_gpu else 0.0
    n, cpus = options.actors, options.cpus_per_actor
    if gpus < 0 or (cpus is not None and cpus <= 0) or (n is not None and n < 1):
        raise InputError(
            "a number of workers, or what each takes, is out of range; give at least 1 worker, "
            "more than 0 cores and no fewer than 0 GPUs"
        )
    by_gpu = math.floor(devices / gpus) if gpus else math.inf
    if cpus is None:
        cpus = max(1, math.floor(cores / max(1, by_gpu))) if gpus else 1
    fits = max(1, min(math.floor(cores / cpus), by_gpu))
    return ActorPlan(max(1, min(n or int(fits), n_shards)), cpus, gpus)
