"""The images of four versions, whose classes grow, and test images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from benchmarks.datasets import read_cifar, read_digits, read_mnist, read_omniglot
from ilk.core.data import Data


def draw_ten(
    train: Data, test: Data, seed: int, n_train: int, n_test: int
) -> tuple[list[Data], Data]:
    """Return the training images of four steps and test images, for classes in random order."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(train.k)

    def take(data: Data, n: int) -> Data:
        rows = [rng.choice(np.flatnonzero(data.y == c), n, replace=False) for c in order]
        y = np.repeat(np.arange(len(order)), n)
        names = tuple(data.classes[c] for c in order)
        return Data(data.x[np.concatenate(rows)], y, names)

    whole, held_out = take(train, n_train), take(test, n_test)
    return [cut_classes(whole, k) for k in (2, 4, 6, 8)], held_out


def cut_classes(data: Data, k: int) -> Data:
    """Return the rows of the first `k` classes."""
    part = data.take(np.flatnonzero(data.y < k))
    return replace(part, classes=data.classes[:k])


def draw_mnist(seed: int) -> tuple[list[Data], Data]:
    """Draw MNIST images."""
    return draw_ten(read_mnist(), read_mnist("test"), seed, 200, 60)


def draw_cifar(seed: int) -> tuple[list[Data], Data]:
    """Draw MobileNetV2 features of CIFAR-10 images, scaled to a mean square of 1."""
    train, test = read_cifar(), read_cifar("test")
    unit = float(np.sqrt((train.x[:1000] ** 2).mean()))
    parts, held_out = draw_ten(train, test, seed, 200, 60)
    return [replace(p, x=p.x / unit) for p in parts], replace(held_out, x=held_out.x / unit)


def draw_omniglot(seed: int) -> tuple[list[Data], Data]:
    """Draw characters of Omniglot: version 4 has 120, the test has 50 of other alphabets."""
    train, test = read_omniglot(1), read_omniglot(2)
    rng = np.random.default_rng(seed)
    order = rng.permutation(train.k)
    rank = np.argsort(order)
    whole = replace(train, y=rank[train.y], classes=tuple(train.classes[c] for c in order))
    chosen = rng.permutation(test.k)[:50]
    return [cut_classes(whole, k) for k in (30, 60, 90, 120)], test.take(
        np.flatnonzero(np.isin(test.y, chosen))
    )


def draw_digits(seed: int) -> tuple[list[Data], Data]:
    """Draw scikit-learn's digits, 64 pixels."""
    data = read_digits()
    is_test = np.random.default_rng(seed).random(len(data)) < 0.3
    return draw_ten(
        data.take(np.flatnonzero(~is_test)), data.take(np.flatnonzero(is_test)), seed, 30, 20
    )
