"""Retrieval of classes that were never seen: class-disjoint sets, tuning and evaluation.

Classes are divided at random, by the seed, into training, validation and test classes. Settings of
a loss are chosen by mAP@R on the validation classes; the embedding is then trained on training and
validation classes, and scored once on the test classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from benchmarks.datasets import read_cifar, read_notmnist, read_omniglot, read_pacs
from ilk.architectures.metric_head import MetricHead
from ilk.core.data import Data, Labels
from ilk.core.linear_models import normalize_rows
from ilk.maths.kmeans import fit_kmeans
from ilk.maths.pca import find_axes
from ilk.maths.retrieval import ami, mean_known, nmi, score_retrieval
from ilk.metric_learning.training import EmbeddingRecipe, embed_rows, train_embedding
from ilk.training.metric_objective import MetricObjective

Matrix = NDArray[Any]
SETS = ("omniglot", "cifar10", "notmnist", "pacs")
ROWS_PER_CLASS = 200  # of the sets with few classes
LEARNING_RATES = (3e-4, 3e-3)
WIDTH = 64
RESTARTS = 10  # of k-means


@dataclass(frozen=True, eq=False)
class RetrievalTask:
    """Rows of classes for training, validation and test; no class is in two of them.

    Attributes:
        name: One of `SETS`.
        train, validation, test: Rows, with class indices of the whole set.
    """

    name: str
    train: Data
    validation: Data
    test: Data

    @property
    def seen(self) -> Data:
        """Rows of training and validation classes."""
        return Data(
            np.concatenate([self.train.x, self.validation.x]),
            np.concatenate([self.train.y, self.validation.y]),
            self.train.classes,
        )


def read_task(name: str, seed: int, *, small: bool = False) -> RetrievalTask:
    """Return a set with its classes divided by the seed.

    Omniglot is divided by alphabets (4, 2 and 4); CIFAR-10 and notMNIST have 3, 2 and 5 classes,
    PACS 3, 2 and 2.

    Args:
        name: One of `SETS`.
        seed: Seed of the division, and of which rows are taken.
        small: Take few rows and classes, for tests.
    """
    rng = np.random.default_rng(seed)
    if name == "omniglot":
        x, y, unit = _read_all_omniglot()
        sizes = (4, 2, 4)
    else:
        data = {"cifar10": lambda: read_cifar("test"), "notmnist": read_notmnist, "pacs": read_pacs}
        rows = _take_per_class(data[name](), 20 if small else ROWS_PER_CLASS, rng)
        x, y, unit = rows.x, rows.y, rows.y
        sizes = (3, 2, 2) if name == "pacs" else (3, 2, 5)
    order = rng.permutation(np.unique(unit))
    ends = np.cumsum(sizes)
    parts = []
    for at, end in zip((0, *ends[:-1]), ends, strict=True):
        keep = np.isin(unit, order[at:end])
        if small:
            classes = np.unique(y[keep])
            keep &= np.isin(y, classes[:8])
        parts.append(Data(x[keep], y[keep], tuple(str(c) for c in range(int(y.max()) + 1))))
    return RetrievalTask(name, *parts)


def _read_all_omniglot() -> tuple[Matrix, Labels, Labels]:
    """Return pixels, characters and alphabets of both small sets; an alphabet may be in both."""
    parts = [read_omniglot(part) for part in (1, 2)]
    shift = int(parts[0].y.max()) + 1
    alphabets = [p.domain for p in parts]
    assert alphabets[0] is not None
    assert alphabets[1] is not None
    return (
        np.concatenate([p.x for p in parts]),
        np.concatenate([parts[0].y, parts[1].y + shift]),
        np.concatenate([alphabets[0], alphabets[1] + int(alphabets[0].max()) + 1]),
    )


def _take_per_class(data: Data, count: int, rng: np.random.Generator) -> Data:
    rows = [rng.permutation(np.flatnonzero(data.y == c))[:count] for c in np.unique(data.y)]
    return data.take(np.sort(np.concatenate(rows)))


def reduce_task(task: RetrievalTask, width: int = 128) -> RetrievalTask:
    """Return a task with features on the first principal axes of training and validation rows."""
    centre, basis, _ = find_axes(task.seen.x, np.float32)
    axes = basis[:, :width].astype(np.float32)
    parts = [
        Data(((part.x - centre) @ axes).astype(np.float32), part.y, part.classes)
        for part in (task.train, task.validation, task.test)
    ]
    return RetrievalTask(task.name, *parts)


def evaluate(z: Matrix, y: Labels, seed: int = 0) -> dict[str, float]:
    """Return recall at 1, mAP@R, and NMI and AMI of k-means with as many groups as classes.

    Args:
        z: Embeddings of any length, `[n, e]`; cosine decides.
        y: Classes, `[n]`.
        seed: Seed of k-means.
    """
    scores = score_retrieval(z, y)
    unit = normalize_rows(z)
    unknown = np.full(len(y), -1)
    groups = fit_kmeans(unit, unknown, len(np.unique(y)), n_init=RESTARTS, seed=seed).assignment
    return {
        "recall at 1": mean_known(scores.recall[0]),
        "mAP@R": mean_known(scores.ap_at_r),
        "NMI": nmi(groups, y),
        "AMI": ami(groups, y),
    }


MakeObjective = Callable[[float], MetricObjective]
MakeNetwork = Callable[[Matrix, int], nn.Module]


def make_head(x: Matrix, seed: int) -> nn.Module:
    """Return a linear `MetricHead` of `WIDTH` dimensions."""
    return MetricHead.from_data(x, WIDTH, seed=seed)


@dataclass(frozen=True, eq=False)
class Arm:
    """A way to learn an embedding, with what is tuned on validation classes.

    Attributes:
        make_objective: From the value of the tuned setting to the loss.
        values: Values to choose from; a single one is not tuned.
        recipe: Steps and batches; its learning rate is tuned.
        make_network: From training rows and a seed to a network.
        learning_rates: Learning rates to choose from.
    """

    make_objective: MakeObjective
    values: Sequence[float]
    recipe: EmbeddingRecipe = EmbeddingRecipe(steps=150)  # noqa: RUF009  (frozen)
    make_network: MakeNetwork = make_head
    learning_rates: Sequence[float] = LEARNING_RATES


def fit_arm(arm: Arm, data: Data, value: float, lr: float, seed: int) -> nn.Module:
    """Return the network of an arm with these settings, trained on rows."""
    recipe = EmbeddingRecipe(
        arm.recipe.steps,
        lr,
        arm.recipe.n_classes,
        arm.recipe.n_rows,
        arm.recipe.weight_decay,
        seed,
    )
    network = arm.make_network(data.x, seed)
    return train_embedding(network, data.x, data.y, arm.make_objective(value), recipe)


def tune_arm(arm: Arm, task: RetrievalTask, seed: int) -> tuple[float, float]:
    """Return the value of the setting and the learning rate that serve validation classes best."""
    grid = list(product(arm.values, arm.learning_rates))
    if len(grid) == 1:
        return grid[0]
    scores = []
    for value, lr in grid:
        z = embed_rows(fit_arm(arm, task.train, value, lr, seed), task.validation.x)
        scores.append(mean_known(score_retrieval(z, task.validation.y).ap_at_r))
    return grid[int(np.argmax(scores))]


def run_arm(arm: Arm, task: RetrievalTask, seed: int) -> tuple[nn.Module, dict[str, Any]]:
    """Tune an arm, train it on all seen classes, and score it on the test classes."""
    value, lr = tune_arm(arm, task, seed)
    network = fit_arm(arm, task.seen, value, lr, seed)
    scores = evaluate(embed_rows(network, task.test.x), task.test.y, seed)
    return network, {**scores, "setting": value, "lr": lr}


def collect_scores(
    runs: Sequence[Mapping[str, Mapping[str, Any]]], metric: str
) -> dict[str, list[float]]:
    """Return the scores of each arm over runs (one per seed), by name."""
    return {name: [float(run[name][metric]) for run in runs] for name in runs[0]}
