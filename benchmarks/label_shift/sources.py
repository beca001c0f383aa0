"""Training rows, and rows to draw streams from, of each data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import datasets
from ilk.core.data import Data


@dataclass(frozen=True, eq=False)
class StreamSource:
    """Training rows, and rows to draw streams from."""

    train: Data
    pool: Data


def list_sources(small: bool) -> dict[str, Any]:
    """Return a function of the seed and a head, by name of the classifier."""
    sources = {
        "digits, GDA": (load_digits, "GDA()"),
        "digits, logistic regression": (load_digits, "LogisticRegression()"),
        "Fashion-MNIST, GDA": (load_fashion, "GDA()"),
        "CIFAR-10, GDA": (load_cifar, "GDA()"),
        "MNIST, tested on MNIST, GDA": (load_mnist, "GDA()"),
        "letters, GDA": (load_letters, "GDA()"),
        "pendigits, GDA": (load_pendigits, "GDA()"),
        "notMNIST, GDA": (load_notmnist, "GDA()"),
        "MNIST, tested on USPS, GDA": (load_usps, "GDA()"),
    }
    return {"digits, GDA": sources["digits, GDA"]} if small else sources


def load_digits(seed: int) -> StreamSource:
    """Load scikit-learn's digits: 900 training rows, streams from the others."""
    return _split_rows(datasets.read_digits(), 900, seed)


def load_fashion(seed: int) -> StreamSource:
    """Load Fashion-MNIST: 1,500 training rows, streams from the test part."""
    return _make_source(datasets.read_fashion("train"), datasets.read_fashion("test"), 1500, seed)


def load_letters(seed: int) -> StreamSource:
    """Load UCI letters: 2,000 training rows, streams from the others."""
    return _split_rows(datasets.read_letters(), 2000, seed)


def load_pendigits(seed: int) -> StreamSource:
    """Load pendigits: 1,500 training rows, streams from the test part, by other writers."""
    return _make_source(*datasets.read_pendigits(), 1500, seed)


def load_notmnist(seed: int) -> StreamSource:
    """Load notMNIST: 1,500 training rows, streams from the others."""
    return _split_rows(datasets.read_notmnist(), 1500, seed)


def load_mnist(seed: int) -> StreamSource:
    """Load MNIST: 1,500 training rows, streams from the test part."""
    return _make_source(datasets.read_mnist("train"), datasets.read_mnist("test"), 1500, seed)


def load_usps(seed: int) -> StreamSource:
    """Load 1,500 training rows of MNIST, and streams of USPS."""
    return _make_source(datasets.read_mnist("train"), datasets.read_usps("test"), 1500, seed)


def load_cifar(seed: int) -> StreamSource:
    """Load CIFAR-10 features: 1,000 training rows, streams from the test part."""
    return _make_source(datasets.read_cifar("train"), datasets.read_cifar("test"), 1000, seed)


def _split_rows(data: Data, n: int, seed: int) -> StreamSource:
    """Draw `n` training rows at random; the others are for streams."""
    order = np.random.default_rng(seed).permutation(len(data))
    return StreamSource(data.take(order[:n]), data.take(order[n:]))


def _make_source(train: Data, test: Data, n: int, seed: int) -> StreamSource:
    """Draw `n` training rows of `train` at random; the rows of `test` are for streams."""
    return StreamSource(train.take(np.random.default_rng(seed).permutation(len(train))[:n]), test)
