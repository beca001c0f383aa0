"""Random numbers of a training step: functions of the seed, the step and the process alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ilk.training import distributed as ranks


@lru_cache(maxsize=2)
def permute_rows(n: int, seed: int, epoch: int) -> Tensor:
    """Return the order of the rows in epoch `epoch`, `[n]`."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(mix_seeds(seed, epoch, 1)))


def draw_batch_rows(step: int, batch_size: int, n: int, seed: int) -> Tensor:
    """Return the rows of update `step`, `[batch_size]`: each row once per epoch, in a new order."""
    positions = torch.arange(step * batch_size, (step + 1) * batch_size)
    epochs = range(int(positions[0]) // n, int(positions[-1]) // n + 1)
    return torch.cat(
        [permute_rows(n, seed, e)[positions[positions // n == e] - e * n] for e in epochs]
    )


def make_generator(seed: int, step: int, device: str) -> torch.Generator:
    """Return the generator of update `step` in this process."""
    return torch.Generator(device).manual_seed(mix_seeds(seed, step, 2 + ranks.get_rank()))


@contextmanager
def fork_global_generator(generator: torch.Generator) -> Iterator[None]:
    """Seed PyTorch's own generator like `generator` inside, and restore it afterwards."""
    device = generator.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(generator.initial_seed())
        yield


def mix_seeds(*parts: int) -> int:
    """Return one seed derived from several numbers, in [0, 2^63)."""
    seed = 0
    for number in parts:
        seed = (seed * 6364136223846793005 + number + 1442695040888963407) % 2**63
    return seed


def save_numpy_state(rng: np.random.Generator) -> Tensor:
    """Return the state of a NumPy generator as bytes, `[40]` uint8, so that it can be saved."""
    state = rng.bit_generator.state
    parts = [(state["state"]["state"], 16), (state["state"]["inc"], 16)]
    parts += [(state["has_uint32"], 4), (state["uinteger"], 4)]
    content = b"".join(int(value).to_bytes(size, "little") for value, size in parts)
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


def load_numpy_state(saved: Tensor) -> np.random.Generator:
    """Return the NumPy generator whose state `save_numpy_state` saved, `[40]` uint8."""
    content = saved.cpu().numpy().tobytes()
    values = [
        int.from_bytes(content[a:b], "little") for a, b in ((0, 16), (16, 32), (32, 36), (36, 40))
    ]
    generator = np.random.PCG64()
    generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": values[0], "inc": values[1]},
        "has_uint32": values[2],
        "uinteger": values[3],
    }
    return np.random.Generator(generator)
