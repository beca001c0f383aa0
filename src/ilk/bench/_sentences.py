"""A small model of images and sentences, trained here: digits, and words for what they look like.

No text encoder can be had offline, so this stands in for one: an image side with one hidden layer,
a text side that adds up the embeddings of words, trained on MNIST by contrasting each image with
its own sentence (InfoNCE). A sentence is one to three words for measured properties of that image
(holes, slant, width, ink, weight above or below, symmetry, strokes crossed), and in 3 of 10 cases
the name of its digit. So the model learns names from some images and properties from all.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ilk.data import Data, Features, Labels
from ilk.models import unit_rows

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ilk.training.loop import Batch

LEVELS = 3
PROPERTIES = ("holes", "slant", "width", "ink", "top", "symmetry", "across", "down")
WORDS = len(PROPERTIES) * LEVELS
NAMED = 0.3  # share of sentences that tell the name
WIDTH, HIDDEN, STEPS = 64, 256, 1500
TEMPERATURE = 0.07

Grey = NDArray[np.float32]


def measured(x: Features) -> NDArray[np.float64]:
    """Eight properties of grey images `[n, 784]`, `[n, 8]`."""
    images = x.reshape(-1, 28, 28).astype(np.float64)
    return np.array([_of(image) for image in images])


def _of(image: NDArray[np.float64]) -> list[float]:
    from scipy.ndimage import label

    ink = image > 0.5
    rows, columns = np.mgrid[:28, :28]
    total = max(float(image.sum()), 1e-9)
    r, c = (rows * image).sum() / total, (columns * image).sum() / total
    covariance = ((rows - r) * (columns - c) * image).sum()
    upright = max(float(((rows - r) ** 2 * image).sum()), 1e-9)
    wide = np.flatnonzero(ink.any(0))
    mirrored = np.roll(image[:, ::-1], round(2 * c) - 27, axis=1)
    middle_row, middle_column = ink[round(r)], ink[:, round(c)]
    return [
        float(label(~ink)[1] - 1),  # what is not joined to the outside
        float(covariance / upright),
        float(np.ptp(wide)) if len(wide) else 0.0,
        float(ink.sum()),
        float(image[: round(r)].sum() / total),
        float(np.minimum(image, mirrored).sum() / total),
        float(np.sum(np.diff(np.concatenate([[False], middle_row]).astype(int)) > 0)),
        float(np.sum(np.diff(np.concatenate([[False], middle_column]).astype(int)) > 0)),
    ]


def cuts(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where each property's thirds meet, `[8, 2]`; whole numbers are cut between 0, 1 and more."""
    thirds = np.quantile(values, [1 / 3, 2 / 3], axis=0).T
    thirds[0], thirds[6], thirds[7] = [0.5, 1.5], [1.5, 2.5], [1.5, 2.5]
    return thirds


def words(values: NDArray[np.float64], at: NDArray[np.float64]) -> Labels:
    """The word for each property of each row, `[n, 8]`, 0 to 23."""
    level = np.stack([np.digitize(values[:, i], at[i]) for i in range(len(PROPERTIES))], 1)
    return np.asarray(level + LEVELS * np.arange(len(PROPERTIES)), np.int64)


def descriptions() -> NDArray[np.float32]:
    """Every word alone, and every two words of different properties: bags of words `[276, 34]`."""
    single = [[w] for w in range(WORDS)]
    pairs = [[a, b] for a, b in combinations(range(WORDS), 2) if a // LEVELS != b // LEVELS]
    bags = np.zeros((len(single) + len(pairs), WORDS + 10), np.float32)
    for row, told in enumerate(single + pairs):
        bags[row, told] = 1
    return bags


@dataclass(frozen=True, eq=False)
class Pair:
    """Both sides after training: unit embeddings of images and of bags of words."""

    image: nn.Module
    text: nn.Module

    def images(self, x: Features) -> Features:
        """`[n, 64]` of grey images `[n, 784]`."""
        import torch

        with torch.inference_mode():
            found: Features = self.image(torch.from_numpy(np.array(x))).numpy()
        return np.asarray(unit_rows(found), np.float32)

    def texts(self, bags: NDArray[np.float32]) -> Features:
        """`[m, 64]` of bags of words `[m, 34]`."""
        import torch

        with torch.inference_mode():
            found: Features = self.text(torch.from_numpy(bags)).numpy()
        return np.asarray(unit_rows(found), np.float32)

    def names(self) -> Features:
        """`[10, 64]`, of the names alone."""
        return self.texts(np.eye(WORDS + 10, dtype=np.float32)[WORDS:])


def trained(data: Data, seed: int, steps: int = STEPS) -> Pair:
    """Both sides, learnt from `data`: MNIST as `ilk.bench._sets.mnist` gives it."""
    import torch
    from torch import nn
    from torch.nn import functional

    from ilk.training.loop import Batch, Recipe, train

    told = torch.from_numpy(words(values := measured(data.x), cuts(values)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        image = nn.Sequential(nn.Linear(784, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, WIDTH))
        sides = nn.ModuleList([image, nn.Linear(WORDS + 10, WIDTH, bias=False)])

    def objective(net: nn.Module, batch: Batch, generator: torch.Generator) -> torch.Tensor:
        assert batch.at is not None
        bags = _sentences(told[batch.at], batch.y, generator)
        assert isinstance(net, nn.ModuleList)
        u = functional.normalize(net[0](batch.x), dim=1)
        v = functional.normalize(net[1](bags), dim=1)
        scores = u @ v.T / TEMPERATURE
        own = torch.arange(len(u))
        return functional.cross_entropy(scores, own) + functional.cross_entropy(scores.T, own)

    whole = Batch(torch.from_numpy(np.array(data.x)), torch.from_numpy(np.array(data.y)))
    net = train(sides, whole, objective, Recipe(steps, 256, 2e-3, 50, seed=seed))
    return Pair(*net)  # type: ignore[misc]


def _sentences(told: torch.Tensor, y: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """One bag of words an image: one to three of its properties, and sometimes its name."""
    import torch

    n, properties = told.shape
    order = torch.rand(n, properties, generator=generator).argsort(1)
    count = torch.randint(1, 4, (n, 1), generator=generator)
    bags = torch.zeros(n, WORDS + 10)
    bags.scatter_(1, told, (order < count).float())
    named = (torch.rand(n, generator=generator) < NAMED).float()
    bags[torch.arange(n), WORDS + y] = named
    return bags
