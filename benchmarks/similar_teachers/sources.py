"""The source networks: each knows its own classes of grey pictures of 28 x 28."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.datasets import read_fashion, read_mnist, read_notmnist, read_omniglot
from benchmarks.student_networks import (
    ConvNet,
    compute_logits,
    measure_accuracy,
    shift,
    standardize,
    train_student,
)
from ilk.core.data import Data
from ilk.training.objectives.cross_entropy import CrossEntropy
from ilk.training.optimizers import AdamW
from ilk.training.recipe import Recipe
from ilk.training.trainer import Batch

SHAPE = (1, 28, 28)
SOURCE_WIDTHS, STUDENT_WIDTHS = (16, 24, 32, 48), (8, 12, 16, 24)
N_PICTURES, N_HELD_OUT, STEPS, LR = 4_000, 500, 300, 5e-3

Reader = Callable[[], Data]
SOURCES: dict[str, tuple[Reader, range | None]] = {
    "MNIST 0 to 4": (read_mnist, range(5)),
    "MNIST 5 to 9": (read_mnist, range(5, 10)),
    "notMNIST A to E": (read_notmnist, range(5)),
    "notMNIST F to J": (read_notmnist, range(5, 10)),
    "Fashion-MNIST 0 to 4": (read_fashion, range(5)),
    "Omniglot": (read_omniglot, None),
}


@dataclass(frozen=True, eq=False)
class SourceModel:
    """A network of a source task.

    Attributes:
        name: Of its pictures and classes.
        network: The teacher.
        start: A network of the student's size, trained on the same pictures.
        accuracy: Of the teacher, on pictures held out.
    """

    name: str
    network: ConvNet
    start: ConvNet
    accuracy: float


def train_sources(small: bool) -> list[SourceModel]:
    """Return the network of every source, trained on its labels."""
    return [
        _train(name, select_classes(read(), classes), small, seed)
        for seed, (name, (read, classes)) in enumerate(SOURCES.items())
    ]


def select_classes(data: Data, classes: range | None) -> Batch:
    """Return the rows of some classes in random order, labelled from 0; None takes all."""
    rows = np.arange(len(data)) if classes is None else np.flatnonzero(np.isin(data.y, classes))
    rows = np.random.default_rng(0).permutation(rows)
    first = 0 if classes is None else classes.start
    y = torch.from_numpy(np.array(data.y[rows], np.int64) - first)
    return Batch(standardize(data.x[rows], SHAPE), y)


def make_recipe(steps: int, seed: int) -> Recipe:
    """Return AdamW with a linear decay."""
    return Recipe(steps, 128, LR, min(30, steps // 4), 0.01, 1.0, seed=seed, optimizer=AdamW())


def shift_weakly(batch: Batch, generator: torch.Generator) -> Batch:
    """Move each picture by up to 2 pixels."""
    return Batch(shift(batch.x, 2, generator), batch.y, batch.indices, batch.weight)


def _train(name: str, rows: Batch, small: bool, seed: int) -> SourceModel:
    n_held_out, n = (50, 200) if small else (N_HELD_OUT, N_PICTURES)
    held_out = rows.select(torch.arange(n_held_out))
    train = rows.select(torch.arange(n_held_out, min(len(rows), n_held_out + n)))
    k, recipe = int(rows.y.max()) + 1, make_recipe(3 if small else STEPS, seed)
    networks = [
        train_student(ConvNet(widths, k, 1, seed=seed), train, CrossEntropy(), recipe, shift_weakly)
        for widths in (SOURCE_WIDTHS, STUDENT_WIDTHS)
    ]
    accuracy = measure_accuracy(compute_logits(networks[0], held_out.x), held_out.y)
    return SourceModel(name, networks[0], networks[1], accuracy)
