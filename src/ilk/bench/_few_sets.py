"""Sets and tasks for few labels: classes to choose on, and other classes to answer for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ilk.bench import _sets
from ilk.data import Data, Labels
from ilk.models import Method
from ilk.protocols import Step, episodes

METRIC = "mean accuracy over tasks"
SHOTS = 4

Answer = Callable[[Step], NDArray[Any]]


@dataclass(frozen=True)
class World:
    """A set, and the tasks that are cut from it.

    Attributes:
        name: As tables say it.
        parts: From a seed, the classes to choose on and the classes to answer for.
        among: Classes that a task knows.
        ways: Classes that turn up in its queries.
    """

    name: str
    parts: Callable[[int], tuple[Data, Data]]
    among: int
    ways: int


def digits() -> World:
    """scikit-learn's digits, five classes on either side."""
    return World("digits", lambda seed: halves(_sets.digits(), seed), 5, 2)


def letters() -> World:
    """UCI letters, 150 rows a class, thirteen classes on either side."""
    data = thinned(_sets.letters(), 150)
    return World("UCI letters", lambda seed: halves(data, seed), 13, 4)


def fashion() -> World:
    """Fashion-MNIST's test pixels, 300 rows a class, five classes on either side."""
    data = thinned(_sets.fashion("test"), 300)
    return World("Fashion-MNIST pixels", lambda seed: halves(data, seed), 5, 2)


def cifar() -> World:
    """CIFAR-10's test part through MobileNetV2, 300 rows a class, five classes on either side."""
    data = thinned(_sets.cifar("test"), 300)
    return World("CIFAR-10 through MobileNetV2", lambda seed: halves(data, seed), 5, 2)


def omniglot(*, pixels: bool = False) -> World:
    """Omniglot's small sets as histograms of gradients (or pixels): 1 to choose on, 2 to answer."""
    both = tuple(_sets.omniglot(part) for part in (1, 2))
    base, new = both if pixels else tuple(gradients(data) for data in both)
    name = "Omniglot, pixels" if pixels else "Omniglot, histograms of gradients"
    return World(name, lambda seed: (base, new), 20, 5)


def mnist() -> World:
    """MNIST's pixels, 200 rows a class, five classes on either side."""
    data = thinned(_sets.mnist(), 200)
    return World("MNIST pixels", lambda seed: halves(data, seed), 5, 5)


def halves(data: Data, seed: int) -> tuple[Data, Data]:
    """Half of the classes, drawn by `seed`, and the others, each with its own list of classes."""
    order = np.random.default_rng(seed).permutation(data.k)
    return restricted(data, order[: data.k // 2]), restricted(data, order[data.k // 2 :])


def restricted(data: Data, chosen: Labels) -> Data:
    """The rows of the classes `chosen`, with no other class in the list."""
    part = data.rows(np.isin(data.y, chosen))
    where = np.full(data.k, -1)
    where[chosen] = np.arange(len(chosen))
    return replace(part, y=where[part.y], classes=tuple(data.classes[c] for c in chosen))


def thinned(data: Data, most: int, seed: int = 0) -> Data:
    """At most so many rows a class, drawn by `seed`."""
    order = np.random.default_rng(seed).permutation(len(data))
    kept = [order[data.y[order] == c][:most] for c in range(data.k)]
    return data.rows(np.sort(np.concatenate(kept)))


def gradients(data: Data, side: int = 28, chunk: int = 256) -> Data:
    """Pixels `[n, side * side]` in [0, 1] as histograms of oriented gradients, `[n, 324]`."""
    from ilk.encoders.hog import Hog

    hog = Hog()
    grey = (data.x.reshape(-1, side, side) * 255).round().astype(np.uint8)
    rows = []
    for at in range(0, len(grey), chunk):
        images = [Image.fromarray(image).convert("RGB") for image in grey[at : at + chunk]]
        rows.append(hog.embed(np.stack([hog.prepare(image) for image in images])))
    return replace(data, x=np.concatenate(rows))


def cut(
    data: Data, among: int, ways: int, drawn: tuple[int, int], shots: int = SHOTS
) -> Iterator[Step]:
    """So many tasks by a seed: `drawn` is both."""
    return episodes(data, shots, ways=ways, among=among, count=drawn[0], seed=drawn[1])


def answered(method: Method) -> Answer:
    """The answers of a method that sees the queries among its rows."""
    return lambda task: method.fit(task.train).logits(task.test.x)


def accuracy(answer: Answer, task: Step) -> float:
    """Share of the queries answered rightly."""
    return float(np.mean(answer(task).argmax(1) == task.test.y))


def collect(
    scores: dict[str, list[float]], answers: Mapping[str, Answer], tasks: Sequence[Step]
) -> None:
    """Add the mean accuracy over tasks of each way to answer."""
    for name, answer in answers.items():
        mean = float(np.mean([accuracy(answer, task) for task in tasks]))
        scores.setdefault(name, []).append(mean)
