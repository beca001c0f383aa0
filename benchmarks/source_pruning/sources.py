"""Sources of many classes of 28 x 28 grey images, and the targets that they are to serve."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets import read_fashion, read_mnist, read_notmnist, read_usps
from ilk.core.data import Data

CLOTHES = (
    *("T-shirt", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)
LETTERS = tuple("ABCDEFGHIJ")
DIGITS = tuple(f"digit {i}" for i in range(10))
PER_CLASS, PER_TARGET_CLASS, N_TEST = 250, 5, 1500


@dataclass(frozen=True, eq=False)
class Task:
    """A source, a target with few labels, and its test images.

    Attributes:
        source: Rows of pixels with labels.
        train: Labelled rows of the target.
        test: Rows that accuracy is measured on.
        by_name: Source classes, those first whose names are nearest to the target's: digits, then
            letters (both are characters), then clothes; within them at random.
    """

    source: Data
    train: Data
    test: Data
    by_name: NDArray[np.int64]


def read_task(setting: str, seed: int, small: bool) -> Task:
    """Draw a task; a setting that begins with "digits" has MNIST digits in its source."""
    rng = np.random.default_rng(seed)
    has_digits = setting.startswith("digits")
    parts = [_read("letters"), _read("clothes")]
    parts = [_read("digits"), *parts] if has_digits else parts
    n = 20 if small else PER_CLASS
    drawn = [_draw(part, n, rng) for part in parts]
    classes = tuple(name for part in drawn for name in part.classes)
    source = Data(
        np.concatenate([part.x for part in drawn]),
        np.concatenate([part.y + 10 * i for i, part in enumerate(drawn)]),
        classes,
    )
    target = read_usps() if has_digits else _read("digits")
    test = read_usps("test") if has_digits else read_mnist("test")
    test = test.take(rng.permutation(len(test))[: 200 if small else N_TEST])
    groups = [rng.permutation(np.arange(10 * i, 10 * i + 10)) for i in range(len(drawn))]
    return Task(source, _draw(target, PER_TARGET_CLASS, rng), test, np.concatenate(groups))


@cache
def _read(name: str) -> Data:
    if name == "letters":
        return replace(read_notmnist(), classes=LETTERS)
    if name == "clothes":
        return replace(read_fashion("test"), classes=CLOTHES)
    return replace(read_mnist(), classes=DIGITS)


def _draw(data: Data, per_class: int, rng: np.random.Generator) -> Data:
    """Return `per_class` random rows of each class, sorted by class."""
    order = rng.permutation(len(data))
    rows = [order[data.y[order] == c][:per_class] for c in range(data.k)]
    return data.take(np.concatenate(rows))
