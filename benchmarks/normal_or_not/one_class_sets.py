"""Data sets with one normal class, for the benchmark of anomaly detectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks import datasets
from benchmarks.encoder_zoo import LONG_STEPS, N_SOURCE, sample_rows
from benchmarks.small_networks import extract_features, train_network
from ilk.core.data import Data, Features
from ilk.protocols import Step, one_class_split

N_NORMAL, N_ANOMALOUS = 1000, 1000


@dataclass(frozen=True, eq=False)
class AnomalyDataset:
    """A data set and its normal classes.

    Attributes:
        data: Features and classes.
        normal_classes: Names of the normal classes, one per seed.
        pixels: Pixels `[n, p]` of the same rows for the autoencoder; None if it reads the features.
    """

    data: Data
    normal_classes: tuple[str, ...]
    pixels: Features | None = None


def _load_digits() -> AnomalyDataset:
    data = datasets.read_digits()
    return AnomalyDataset(data, data.classes[:5])


def _load_unseen_classes(read: Callable[[str], Data]) -> AnomalyDataset:
    """Return rows of classes 0 to 4 through a network trained on the others."""
    source, target = read("train"), read("test")
    source = sample_rows(source.take(source.y >= 5), N_SOURCE)
    target = target.take(target.y < 5)
    x = extract_features(train_network(source, LONG_STEPS), np.asarray(target.x))
    return AnomalyDataset(
        Data(x, target.y, target.classes), target.classes[:5], np.asarray(target.x)
    )


DATASETS: dict[str, Callable[[], AnomalyDataset]] = {
    "digits": _load_digits,
    "Fashion-MNIST, network trained on other classes": lambda: _load_unseen_classes(
        datasets.read_fashion
    ),
}


def draw_step(dataset: AnomalyDataset, seed: int) -> tuple[Step, Features | None, Features | None]:
    """Return training and test rows, and the pixels of both."""
    data, name = dataset.data, dataset.normal_classes[seed % len(dataset.normal_classes)]
    rng, class_index = np.random.default_rng(seed), data.classes.index(name)
    is_anomalous = data.y != class_index
    selected = np.append(
        rng.permutation(np.flatnonzero(data.y == class_index))[:N_NORMAL],
        rng.permutation(np.flatnonzero(is_anomalous))[:N_ANOMALOUS],
    )
    indexed = Data(np.arange(len(selected))[:, None], data.y[selected], data.classes)
    step = one_class_split(indexed, name, 0.5, seed)
    train_rows, test_rows = (selected[part.x[:, 0]] for part in (step.train, step.test))

    def take(part: Data, rows: NDArray[np.int64]) -> Data:
        return Data(np.asarray(data.x[rows], np.float32), part.y, part.classes)

    feature_step = Step(take(step.train, train_rows), take(step.test, test_rows), step.test_rows)
    return feature_step, *(
        (None,) * 2
        if dataset.pixels is None
        else (dataset.pixels[train_rows], dataset.pixels[test_rows])
    )
