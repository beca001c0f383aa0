"""Images with superclasses that are seen and classes inside them that are hidden."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets import read_cifar_pixels, read_mnist
from benchmarks.decoders import CIFAR_CLASSES
from ilk.core.data import Labels

SETS = ("mnist", "cifar10")
SHAPES = {"mnist": (1, 28, 28), "cifar10": (3, 32, 32)}
VEHICLES = ("airplane", "automobile", "ship", "truck")
PER_CLASS = {"train": 300, "validation": 60, "test": 200}
N_IMAGES = 560  # of each class of CIFAR-10 that are decoded


@dataclass(frozen=True, eq=False)
class FineRows:
    """Rows with the classes inside the superclasses.

    Attributes:
        x: Pixels in [0, 1], `[n, c * h * w]`.
        fine: Hidden classes, `[n]`.
        coarse: Superclasses, `[n]`, 0 or 1.
    """

    x: NDArray[np.float32]
    fine: Labels
    coarse: Labels


def read_rows(name: str, seed: int, *, small: bool = False) -> dict[str, FineRows]:
    """Return training, validation and test rows, drawn by the seed, equally many of each class.

    Superclasses are odd and even digits, or animals and vehicles.
    """
    data = read_mnist("test") if name == "mnist" else read_cifar_pixels(N_IMAGES)
    rng = np.random.default_rng(seed)
    is_vehicle = np.array([c in VEHICLES for c in CIFAR_CLASSES])
    coarse = data.y % 2 if name == "mnist" else is_vehicle[data.y].astype(np.int64)
    orders = [rng.permutation(np.flatnonzero(data.y == c)) for c in range(10)]
    parts, start = {}, 0
    for part, full in PER_CLASS.items():
        count = max(4, full // 20) if small else full
        rows = np.concatenate([order[start : start + count] for order in orders])
        parts[part] = FineRows(data.x[rows], data.y[rows], coarse[rows])
        start += count
    return parts
