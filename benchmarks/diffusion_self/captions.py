"""Images of two coloured digits side by side, their captions, and a judge of generated images."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ilk.training.trainer import Batch

SIZE, SIDE, TOP = 16, 8, 4  # of an image, of a digit; where digits begin
COLOURS = {
    "red": (255, 70, 70),
    "green": (70, 255, 70),
    "blue": (90, 90, 255),
    "yellow": (255, 255, 70),
}
DIGITS = 6  # 0 to 5
GROUNDS = {"dark": 0.0, "grey": 0.35}  # the two styles: how light the ground is
TASKS = ("digit", "colour", "binding", "position")


@dataclass(frozen=True)
class Captions:
    """All captions: two different digits in two different colours.

    Attributes:
        table: Digit and colour of the left and the right object, `[captions, 2, 2]`.
    """

    table: NDArray[np.int64]

    @classmethod
    def make(cls) -> Captions:
        rows = product(permutations(range(DIGITS), 2), permutations(range(len(COLOURS)), 2))
        return cls(np.array([[(d[0], c[0]), (d[1], c[1])] for d, c in rows]))

    @property
    def names(self) -> tuple[str, ...]:
        """A sentence per caption."""
        colours = list(COLOURS)
        return tuple(
            f"a {colours[left[1]]} {left[0]} to the left of a {colours[right[1]]} {right[0]}"
            for left, right in self.table.tolist()
        )

    def find(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the index of each row `[n, 2, 2]`, `[n]`."""
        index = {tuple(row): i for i, row in enumerate(self.table.reshape(-1, 4).tolist())}
        return np.array([index[tuple(row)] for row in rows.reshape(-1, 4).tolist()])

    def make_wrong(self, true: NDArray[np.int64], seed: int) -> dict[str, Tensor]:
        """Return a wrong caption `[n]` per task for true captions `[n]`.

        `digit` and `colour` replace one of two by another that is not in the image; `binding`
        exchanges the colours; `position` exchanges the objects.
        """
        rng, rows = np.random.default_rng(seed), self.table[true]
        wrong = {}
        for attribute, name, count in ((0, "digit", DIGITS), (1, "colour", len(COLOURS))):
            changed = rows.copy()
            for i, row in enumerate(changed):
                others = np.setdiff1d(np.arange(count), row[:, attribute])
                row[rng.integers(2), attribute] = rng.choice(others)
                changed[i] = row
            wrong[name] = changed
        exchanged = rows.copy()
        exchanged[:, :, 1] = rows[:, ::-1, 1]
        wrong["binding"], wrong["position"] = exchanged, rows[:, ::-1]
        return {name: torch.from_numpy(self.find(wrong[name])) for name in TASKS}


def make_images(
    digits: Batch, captions: Captions, count: int, seed: int, ground: str = "dark"
) -> Batch:
    """Return `count` images `[n, 3, 16, 16]` of random captions, composed of `digits`."""
    rng = np.random.default_rng(seed)
    y = rng.integers(len(captions.table), size=count)
    x = np.full((count, 3, SIZE, SIZE), GROUNDS[ground])
    grey, label = digits.x[:, 0].numpy() / 255, digits.y.numpy()
    by_digit = [np.flatnonzero(label == d) for d in range(DIGITS)]
    palette = np.array(list(COLOURS.values()), np.float64) / 255
    for i, caption in enumerate(y):
        for place, (digit, colour) in enumerate(captions.table[caption]):
            ink = grey[rng.choice(by_digit[digit])]
            part = x[i, :, TOP : TOP + SIDE, place * SIDE : (place + 1) * SIDE]
            part += ink * (palette[colour][:, None, None] - part)
    pixels = np.round(255 * x).astype(np.uint8)
    return Batch(torch.from_numpy(pixels), torch.from_numpy(y))


class Judge:
    """Reads digit and colour of both halves by the nearest real digit.

    Args:
        digits: Real digits `[n, 1, 8, 8]` with their classes.
        captions: All captions.
        ground: Style of the images, `dark` or `grey`.
    """

    def __init__(self, digits: Batch, captions: Captions, ground: str = "dark") -> None:
        known = digits.y < DIGITS
        self.grey = digits.x[known, 0].double() / 255
        self.digit, self.captions, self.ground = digits.y[known], captions, GROUNDS[ground]
        palette = torch.tensor(list(COLOURS.values()), dtype=torch.float64)
        self.palette = palette / palette.norm(dim=1, keepdim=True)

    def read(self, x: Tensor) -> Tensor:
        """Return digit and colour of the left and the right object, `[n, 2, 2]`."""
        light = ((x.double().clamp(-1, 1) + 1) / 2 - self.ground).clamp(0) / (1 - self.ground)
        halves = [self._read_half(light[:, :, :, at : at + SIDE]) for at in (0, SIDE)]
        return torch.stack(halves, 1)

    def _read_half(self, light: Tensor) -> Tensor:
        total = light.sum((2, 3))
        colour = (total @ self.palette.T).argmax(1)
        grey = light.amax(1)
        window = grey[:, TOP : TOP + SIDE].flatten(1)
        nearest = torch.cdist(window, self.grey.flatten(1)).argmin(1)
        return torch.stack([self.digit[nearest], colour], 1)

    def __call__(self, x: Tensor, captions: Tensor) -> Tensor:
        """Return whether images `[n, 3, 16, 16]` in [-1, 1] show their captions `[n]`."""
        shown = torch.from_numpy(self.captions.table)[captions]
        return (self.read(x) == shown).flatten(1).all(1)
