"""Two coloured digits side by side, and captions in which the order of words matters.

A stand-in for photographs with captions: no weights of a large image-text model are available
offline. An image is 3 x 14 x 28: two digits of MNIST at half their size, in different colours, one
left and one right. A caption names both, in one of several styles. Two images of the same meaning
have the same caption, so that a batch holds false negatives, the more the fewer captions there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.datasets import read_digits, read_mnist
from ilk.architectures.two_towers import CaptionTower, ImageTower, TwoTowers
from ilk.maths.retrieval import score_similarities
from ilk.training.trainer import Batch

SHAPE, SIDE = (3, 14, 28), 14
COLOURS = {"red": (1, 0.2, 0.2), "green": (0.2, 1, 0.2), "blue": (0.3, 0.3, 1), "yellow": (1, 1, 0)}
DIGIT_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
STYLES = ("a {c} {d} left of a {C} {D}", "a {d} {c} left , a {D} {C}")  # the second is the shift
WORDS = ("a", "left", "of", ",", *COLOURS, *DIGIT_WORDS)
WIDTH = 64
GREY_GROUND = 0.1


@dataclass(frozen=True)
class World:
    """The captions of a number of digits.

    Attributes:
        digits: How many digits there are, the first ones; fewer digits repeat captions more often.
    """

    digits: int = 10

    @property
    def table(self) -> NDArray[np.int64]:
        """Digit and colour of the left and the right object of each meaning, `[m, 2, 2]`."""
        rows = product(permutations(range(self.digits), 2), permutations(range(len(COLOURS)), 2))
        return np.array([[(d[0], c[0]), (d[1], c[1])] for d, c in rows])

    def write_captions(self, style: int = 0) -> Tensor:
        """Return every meaning as words in a style, `[m, 8]` int64."""
        names, rows = list(COLOURS), []
        for (d, c), (other_d, other_c) in self.table.tolist():
            words = {"d": DIGIT_WORDS[d], "c": names[c], "D": DIGIT_WORDS[other_d]}
            text = STYLES[style].format(**words, C=names[other_c])
            rows.append([WORDS.index(word) for word in text.split()])
        return torch.tensor(rows)

    def swap_colours(self, y: Tensor) -> Tensor:
        """Return the meaning `[n]` with the two colours exchanged: the same words, other order."""
        index = {tuple(row): i for i, row in enumerate(self.table.reshape(-1, 4).tolist())}
        rows = self.table[y.numpy()].copy()
        rows[:, :, 1] = rows[:, ::-1, 1]
        return torch.tensor([index[tuple(row)] for row in rows.reshape(-1, 4).tolist()])

    def make_images(self, n: int, seed: int, part: str = "train", ground: float = 0.0) -> Batch:
        """Return `n` images of random meanings, made of training or of test digits.

        Args:
            n: Number of images.
            seed: Seed of meanings, digits and places.
            part: `train` or `test`: which digits of MNIST; `digits` draws scikit-learn's.
            ground: How light the ground is; ink is mixed with it.
        """
        rng = np.random.default_rng([seed, part == "test"])
        grey, label = _read_digits(part)
        of_digit = [np.flatnonzero(label == d) for d in range(self.digits)]
        table, palette = self.table, np.array(list(COLOURS.values()), np.float32)
        y = rng.integers(0, len(table), n)
        x = np.full((n, *SHAPE), ground, np.float32)
        for i, meaning in enumerate(y):
            for place, (digit, colour) in enumerate(table[meaning]):
                ink = grey[rng.choice(of_digit[digit])]
                ink = np.roll(ink, rng.integers(-1, 2, 2), (0, 1))
                view = x[i, :, :, place * SIDE : (place + 1) * SIDE]
                view += ink * (palette[colour][:, None, None] - view)
        return Batch(torch.from_numpy(x), torch.from_numpy(y))


def _read_digits(part: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return digits `[n, 14, 14]` in [0, 1] and their names."""
    if part == "digits":
        data = read_digits()
        return np.pad(data.x.reshape(-1, 8, 8), ((0, 0), (3, 3), (3, 3))), data.y
    data = read_mnist(part)
    return data.x.reshape(-1, 14, 2, 14, 2).mean((2, 4)), data.y


def make_towers(world: World, seed: int, knows_order: bool = True) -> TwoTowers:
    """Return untrained towers for the captions of `world`, drawn from `seed`."""
    captions = world.write_captions()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tower = CaptionTower(len(WORDS), captions.shape[1], WIDTH, knows_order)
        return TwoTowers(ImageTower(SHAPE, WIDTH), tower, captions)


def measure_recall(s: Tensor, y: Tensor, k: int = 1) -> float:
    """Return R@k of queries for cosines `s [n, n]`, labels `y [n]` of rows and columns.

    An item with the caption of the query is a hit, whether it is its own pair or not.
    """
    relevant = (y[:, None] == y).numpy()
    return float(score_similarities(s.double().numpy(), relevant, k=(k,)).recall[0].mean())
