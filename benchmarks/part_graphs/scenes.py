"""Scenes of real digits: which digits a scene holds says its class, as a graph of parts tells."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.datasets import read_mnist
from ilk.core.data import Labels

SIDE, CELL, PART = 32, 16, 14  # pixels
PART_SETS = ((0, 1, 2), (2, 3, 4), (4, 5, 6), (6, 7, 0))  # of each class
NEUTRAL, SPURIOUS = 8, 9
N_PARTS = 10
P_SPURIOUS = 0.9  # in training scenes: of the first class; of the others 1 - P_SPURIOUS
P_FOREIGN = 0.3

GRAPH: NDArray[np.int64] = np.array(
    [[1 if p in members else -1 for members in PART_SETS] for p in range(N_PARTS)], np.int64
)


@dataclass(frozen=True, eq=False)
class Scenes:
    """Scenes with their parts.

    Attributes:
        images: Pixels `[n, 1, 32, 32]`, normalized.
        parts: Whether each digit is present, `[n, 10]`.
        y: Class, `[n]`.
    """

    images: Tensor
    parts: NDArray[np.bool_]
    y: Labels


def make_scenes(n: int, seed: int, part: str = "train", *, is_correlated: bool = True) -> Scenes:
    """Make scenes of up to four digits at jittered places of a 2 x 2 grid.

    A scene holds two or three of the digits of its class, sometimes a foreign one, and 8 or 9. The
    digit 9 belongs to no class.

    Args:
        n: Number of scenes.
        seed: Seed of everything random.
        part: `train` or `test`: which digits of MNIST they are made of.
        is_correlated: Whether the digit 9 goes with the first class, as in training; else it is in
            half of the scenes of any class.
    """
    rng = np.random.default_rng([seed, part == "test", is_correlated])
    digits = read_mnist(part)
    small = digits.x.reshape(-1, PART, 2, PART, 2).mean((2, 4))
    by_class = [np.flatnonzero(digits.y == c) for c in range(N_PARTS)]
    y = rng.integers(0, len(PART_SETS), n)
    canvas, parts = np.zeros((n, SIDE, SIDE), np.float32), np.zeros((n, N_PARTS), bool)
    for i in range(n):
        chosen = _choose_parts(int(y[i]), rng, is_correlated)
        parts[i, chosen] = True
        for place, p in zip(rng.permutation(4), chosen, strict=False):
            top, left = CELL * np.array(divmod(int(place), 2)) + rng.integers(0, 3, 2)
            digit = small[rng.choice(by_class[p])]
            canvas[i, top : top + PART, left : left + PART] = digit
    pixels = canvas + 0.05 * rng.standard_normal(canvas.shape).astype(np.float32)
    return Scenes(torch.from_numpy((pixels[:, None] - 0.1) / 0.3), parts, y)


def _choose_parts(c: int, rng: np.random.Generator, is_correlated: bool) -> list[int]:
    """Return up to four digits of a scene of class c."""
    chosen = list(rng.permutation(PART_SETS[c])[: int(rng.integers(2, 4))])
    p_spurious = (P_SPURIOUS if c == 0 else 1 - P_SPURIOUS) if is_correlated else 0.5
    chosen.append(SPURIOUS if rng.random() < p_spurious else NEUTRAL)
    if len(chosen) < 4 and rng.random() < P_FOREIGN:
        foreign = [p for p in range(8) if p not in PART_SETS[c]]
        chosen.append(int(rng.choice(foreign)))
    return [int(p) for p in chosen]


class SceneNetwork(nn.Module):
    """Three convolutions with batch norm, the maximum over places, a linear layer to logits."""

    def __init__(self, n_outputs: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            widths = (1, 32, 64, 64)
            self.features = nn.Sequential(
                *(
                    nn.Sequential(
                        nn.Conv2d(a, b, 3, 2 if i < 2 else 1, 1, bias=False),
                        nn.BatchNorm2d(b),
                        nn.ReLU(),
                    )
                    for i, (a, b) in enumerate(pairwise(widths))
                )
            )
            self.head = nn.Conv2d(64, n_outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `[b, n_outputs]` of images `[b, 1, 32, 32]`."""
        return self.head(self.features(x)).amax((2, 3))  # type: ignore[no-any-return]
