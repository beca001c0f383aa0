"""Few-label tasks: classes to choose hyperparameters on, and other classes to test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks import datasets
from ilk.core.contracts import Method
from ilk.core.data import Data, Labels
from ilk.protocols import Step, episodes

METRIC = "mean accuracy over tasks"
SHOTS = 4

Answer = Callable[[Step], NDArray[Any]]


@dataclass(frozen=True)
class TaskSource:
    """A data set and the shape of its tasks.

    Attributes:
        name: Name in tables.
        split_classes: Function of a seed: rows of the classes to choose on and of those to test.
        n_classes: Classes of a task.
        ways: Classes among its queries.
    """

    name: str
    split_classes: Callable[[int], tuple[Data, Data]]
    n_classes: int
    ways: int


def load_digits() -> TaskSource:
    """Load scikit-learn's digits, five classes in each part."""
    return TaskSource("digits", lambda seed: halve_classes(datasets.read_digits(), seed), 5, 2)


def load_letters() -> TaskSource:
    """Load UCI letters, 150 rows per class, thirteen classes in each part."""
    data = subsample(datasets.read_letters(), 150)
    return TaskSource("UCI letters", lambda seed: halve_classes(data, seed), 13, 4)


def load_fashion() -> TaskSource:
    """Load Fashion-MNIST's test pixels, 300 rows per class, five classes in each part."""
    data = subsample(datasets.read_fashion("test"), 300)
    return TaskSource("Fashion-MNIST pixels", lambda seed: halve_classes(data, seed), 5, 2)


def load_cifar() -> TaskSource:
    """Load CIFAR-10's test part through MobileNetV2, 300 rows per class, five classes per part."""
    data = subsample(datasets.read_cifar("test"), 300)
    return TaskSource("CIFAR-10 through MobileNetV2", lambda seed: halve_classes(data, seed), 5, 2)


def load_omniglot(*, pixels: bool = False) -> TaskSource:
    """Load the small sets of Omniglot as gradients or pixels: 1 to choose on, 2 to test."""
    parts = tuple(datasets.read_omniglot(part) for part in (1, 2))
    base, new = parts if pixels else tuple(compute_hog(data) for data in parts)
    name = "Omniglot, pixels" if pixels else "Omniglot, histograms of gradients"
    return TaskSource(name, lambda seed: (base, new), 20, 5)


def load_mnist() -> TaskSource:
    """Load MNIST's pixels, 200 rows per class, five classes in each part."""
    data = subsample(datasets.read_mnist(), 200)
    return TaskSource("MNIST pixels", lambda seed: halve_classes(data, seed), 5, 5)


def halve_classes(data: Data, seed: int) -> tuple[Data, Data]:
    """Split the classes at random; each half has its own list of classes."""
    order = np.random.default_rng(seed).permutation(data.k)
    return restrict_classes(data, order[: data.k // 2]), restrict_classes(
        data, order[data.k // 2 :]
    )


def restrict_classes(data: Data, class_indices: Labels) -> Data:
    """Return the rows of the classes `class_indices`, which become the only classes."""
    subset = data.take(np.isin(data.y, class_indices))
    new_index = np.full(data.k, -1)
    new_index[class_indices] = np.arange(len(class_indices))
    return replace(
        subset, y=new_index[subset.y], classes=tuple(data.classes[c] for c in class_indices)
    )


def subsample(data: Data, max_rows: int, seed: int = 0) -> Data:
    """Return at most `max_rows` random rows per class."""
    order = np.random.default_rng(seed).permutation(len(data))
    rows = [order[data.y[order] == c][:max_rows] for c in range(data.k)]
    return data.take(np.sort(np.concatenate(rows)))


def compute_hog(data: Data, side: int = 28, chunk: int = 256) -> Data:
    """Return oriented gradients `[n, 324]` of pixels `[n, side * side]` in [0, 1]."""
    from ilk.encoders.hog import HogEncoder

    hog = HogEncoder()
    grey = (data.x.reshape(-1, side, side) * 255).round().astype(np.uint8)
    rows = []
    for start in range(0, len(grey), chunk):
        images = [Image.fromarray(image).convert("RGB") for image in grey[start : start + chunk]]
        rows.append(hog.embed(np.stack([hog.prepare(image) for image in images])))
    return replace(data, x=np.concatenate(rows))


def draw_tasks(
    data: Data, n_classes: int, ways: int, count_and_seed: tuple[int, int], shots: int = SHOTS
) -> Iterator[Step]:
    """Draw tasks; `count_and_seed` is their number and the seed."""
    return episodes(
        data,
        shots,
        ways=ways,
        n_classes=n_classes,
        n_episodes=count_and_seed[0],
        seed=count_and_seed[1],
    )


def make_answer(method: Method) -> Answer:
    """Return the predictions of a method that sees the queries among its rows."""
    return lambda task: method.fit(task.train).logits(task.test.x)


def accuracy(answer: Answer, task: Step) -> float:
    """Return the fraction of queries predicted correctly."""
    return float(np.mean(answer(task).argmax(1) == task.test.y))


def add_mean_accuracies(
    scores: dict[str, list[float]], answers: Mapping[str, Answer], tasks: Sequence[Step]
) -> None:
    """Append the mean accuracy over tasks of each method."""
    for name, answer in answers.items():
        mean = float(np.mean([accuracy(answer, task) for task in tasks]))
        scores.setdefault(name, []).append(mean)
