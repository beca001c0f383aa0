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
from ilk.maths.pca import fit_pca
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


def load_omniglot() -> TaskSource:
    """Load histograms of gradients of Omniglot's small sets: 1 to train on, 2 to test."""
    base, new = (compute_hog(datasets.read_omniglot(part)) for part in (1, 2))
    return TaskSource("Omniglot, histograms of gradients", lambda seed: (base, new), 20, 5)


def load_usps() -> TaskSource:
    """Load USPS's test pixels, 150 rows per class, five classes in each part."""
    data = subsample(datasets.read_usps("test"), 150)
    return TaskSource("USPS pixels", lambda seed: halve_classes(data, seed), 5, 2)


def reduce_source(source: TaskSource, width: int = 128) -> TaskSource:
    """Return `source` with features on the principal axes of the rows of the first classes."""

    def split_classes(seed: int) -> tuple[Data, Data]:
        base, new = source.split_classes(seed)
        axes = fit_pca(base.x, np.float32)
        basis = axes.basis[:, :width]
        return replace(base, x=(base.x - axes.centre) @ basis), replace(
            new, x=(new.x - axes.centre) @ basis
        )

    return replace(source, split_classes=split_classes)


def load_reduced_fashion() -> TaskSource:
    """Load Fashion-MNIST on 128 axes."""
    return reduce_source(load_fashion())


def load_reduced_cifar() -> TaskSource:
    """Load CIFAR-10 through MobileNetV2 on 128 axes."""
    return reduce_source(load_cifar())


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
