"""A small image-text model trained here: digits, and words for their shape.

No text encoder is available offline, so this is a substitute: an image encoder with one hidden
layer and a text encoder that sums the embeddings of words, trained on MNIST by contrasting each
image with its own sentence (InfoNCE). A sentence has one to three words for measured properties of
the image (holes, slant, width, ink, weight above or below, symmetry, strokes crossed), and in 3 of
10 cases the name of its digit. So the model learns names from some images and properties from all.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Data, Features, Labels
from ilk.core.linear_models import normalize_rows

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ilk.training.trainer import Batch

N_LEVELS = 3
PROPERTIES = ("holes", "slant", "width", "ink", "top", "symmetry", "across", "down")
N_WORDS = len(PROPERTIES) * N_LEVELS
NAME_PROBABILITY = 0.3  # fraction of sentences with the name
WIDTH, HIDDEN, STEPS = 64, 256, 1500
TEMPERATURE = 0.07

Grey = NDArray[np.float32]


def measure_properties(x: Features) -> NDArray[np.float64]:
    """Return eight properties `[n, 8]` of grey images `[n, 784]`."""
    images = x.reshape(-1, 28, 28).astype(np.float64)
    return np.array([_measure_image(image) for image in images])


def _measure_image(image: NDArray[np.float64]) -> list[float]:
    from scipy.ndimage import label

    ink = image > 0.5
    rows, columns = np.mgrid[:28, :28]
    total = max(float(image.sum()), 1e-9)
    r, c = (rows * image).sum() / total, (columns * image).sum() / total
    covariance = ((rows - r) * (columns - c) * image).sum()
    row_variance = max(float(((rows - r) ** 2 * image).sum()), 1e-9)
    ink_columns = np.flatnonzero(ink.any(0))
    mirrored = np.roll(image[:, ::-1], round(2 * c) - 27, axis=1)
    middle_row, middle_column = ink[round(r)], ink[:, round(c)]
    return [
        float(label(~ink)[1] - 1),  # regions not connected to the outside
        float(covariance / row_variance),
        float(np.ptp(ink_columns)) if len(ink_columns) else 0.0,
        float(ink.sum()),
        float(image[: round(r)].sum() / total),
        float(np.minimum(image, mirrored).sum() / total),
        float(np.sum(np.diff(np.concatenate([[False], middle_row]).astype(int)) > 0)),
        float(np.sum(np.diff(np.concatenate([[False], middle_column]).astype(int)) > 0)),
    ]


def find_thresholds(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the tertiles of each property, `[8, 2]`; counts are split into 0, 1 and more."""
    thresholds = np.quantile(values, [1 / 3, 2 / 3], axis=0).T
    thresholds[0], thresholds[6], thresholds[7] = [0.5, 1.5], [1.5, 2.5], [1.5, 2.5]
    return thresholds


def assign_words(values: NDArray[np.float64], thresholds: NDArray[np.float64]) -> Labels:
    """Return the word (0 to 23) for each property of each row, `[n, 8]`."""
    levels = np.stack([np.digitize(values[:, i], thresholds[i]) for i in range(len(PROPERTIES))], 1)
    return np.asarray(levels + N_LEVELS * np.arange(len(PROPERTIES)), np.int64)


def make_descriptions() -> NDArray[np.float32]:
    """Return every word and every two words of different properties as bags, `[276, 34]`."""
    single = [[w] for w in range(N_WORDS)]
    pairs = [[a, b] for a, b in combinations(range(N_WORDS), 2) if a // N_LEVELS != b // N_LEVELS]
    bags = np.zeros((len(single) + len(pairs), N_WORDS + 10), np.float32)
    for row, word_ids in enumerate(single + pairs):
        bags[row, word_ids] = 1
    return bags


@dataclass(frozen=True, eq=False)
class DualEncoder:
    """The trained model: unit embeddings of images and of bags of words."""

    image_encoder: nn.Module
    text_encoder: nn.Module

    def embed_images(self, x: Features) -> Features:
        """Return embeddings `[n, 64]` of grey images `[n, 784]`."""
        import torch

        with torch.inference_mode():
            embeddings: Features = self.image_encoder(torch.from_numpy(np.array(x))).numpy()
        return np.asarray(normalize_rows(embeddings), np.float32)

    def embed_texts(self, bags: NDArray[np.float32]) -> Features:
        """Return embeddings `[m, 64]` of bags of words `[m, 34]`."""
        import torch

        with torch.inference_mode():
            embeddings: Features = self.text_encoder(torch.from_numpy(bags)).numpy()
        return np.asarray(normalize_rows(embeddings), np.float32)

    def embed_names(self) -> Features:
        """Return embeddings `[10, 64]` of the class names only."""
        return self.embed_texts(np.eye(N_WORDS + 10, dtype=np.float32)[N_WORDS:])


def train_dual_encoder(data: Data, seed: int, steps: int = STEPS) -> DualEncoder:
    """Train both encoders on `data`, MNIST as `benchmarks.datasets.read_mnist` returns it."""
    import torch
    from torch import nn
    from torch.nn import functional

    from ilk.training.trainer import Batch, Recipe, train

    word_ids = torch.from_numpy(
        assign_words(values := measure_properties(data.x), find_thresholds(values))
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        image = nn.Sequential(nn.Linear(784, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, WIDTH))
        encoders = nn.ModuleList([image, nn.Linear(N_WORDS + 10, WIDTH, bias=False)])

    def objective(net: nn.Module, batch: Batch, generator: torch.Generator) -> torch.Tensor:
        assert batch.indices is not None
        bags = _draw_sentences(word_ids[batch.indices], batch.y, generator)
        assert isinstance(net, nn.ModuleList)
        u = functional.normalize(net[0](batch.x), dim=1)
        v = functional.normalize(net[1](bags), dim=1)
        scores = u @ v.T / TEMPERATURE
        targets = torch.arange(len(u))
        return functional.cross_entropy(scores, targets) + functional.cross_entropy(
            scores.T, targets
        )

    all_rows = Batch(torch.from_numpy(np.array(data.x)), torch.from_numpy(np.array(data.y)))
    net = train(encoders, all_rows, objective, Recipe(steps, 256, 2e-3, 50, seed=seed))
    return DualEncoder(*net)


def _draw_sentences(
    word_ids: torch.Tensor, y: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Draw one bag of words per image: one to three of its properties, and sometimes its name."""
    import torch

    n, properties = word_ids.shape
    order = torch.rand(n, properties, generator=generator).argsort(1)
    count = torch.randint(1, 4, (n, 1), generator=generator)
    bags = torch.zeros(n, N_WORDS + 10)
    bags.scatter_(1, word_ids, (order < count).float())
    has_name = (torch.rand(n, generator=generator) < NAME_PROBABILITY).float()
    bags[torch.arange(n), N_WORDS + y] = has_name
    return bags
