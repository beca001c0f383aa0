"""What a training step draws, from the seed, the step and the rank alone."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from ilk.training import ranks


@lru_cache(maxsize=2)
def shuffled(n: int, seed: int, epoch: int) -> Tensor:
    """The order of pass `epoch` over n rows."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(mixed(seed, epoch, 1)))


def order(step: int, batch: int, n: int, seed: int) -> Tensor:
    """The rows of update `step`, `[batch]`: every row once, then every row again in new order."""
    places = torch.arange(step * batch, (step + 1) * batch)
    passes = range(int(places[0]) // n, int(places[-1]) // n + 1)
    return torch.cat([shuffled(n, seed, e)[places[places // n == e] - e * n] for e in passes])


def draws(seed: int, step: int, device: str) -> torch.Generator:
    """The generator of update `step` in this process."""
    return torch.Generator(device).manual_seed(mixed(seed, step, 2 + ranks.rank()))


def mixed(*parts: int) -> int:
    """One seed out of several numbers."""
    made = 0
    for part in parts:
        made = (made * 6364136223846793005 + part + 1442695040888963407) % 2**63
    return made
