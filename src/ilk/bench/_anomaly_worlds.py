"""Sets of which one class is normal, for the benchmark of anomaly detectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.bench import _sets
from ilk.bench._encoder_zoo import LONG, TAUGHT, drawn
from ilk.bench._small_networks import seen_by, taught
from ilk.data import Data, Features
from ilk.protocols import Step, one_normal

NORMAL, ODD = 1000, 1000


@dataclass(frozen=True, eq=False)
class World:
    """A set, which classes take turns in being normal, and its pixels where features are others'.

    Attributes:
        data: Features and classes.
        turns: Names of classes, one a seed.
        pixels: `[n, p]` of the same rows for the autoencoder; None where it reads the features.
    """

    data: Data
    turns: tuple[str, ...]
    pixels: Features | None = None


def _digits() -> World:
    data = _sets.digits()
    return World(data, data.classes[:5])


def _taught(part: Callable[[str], Data]) -> World:
    """Rows of classes 0 to 4 through a network that was taught the others."""
    source, target = part("train"), part("test")
    source = drawn(source.rows(source.y >= 5), TAUGHT)
    target = target.rows(target.y < 5)
    x = seen_by(taught(source, LONG), np.asarray(target.x))
    return World(Data(x, target.y, target.classes), target.classes[:5], np.asarray(target.x))


def _foreign() -> World:
    """MNIST pixels; of what is no digit of the class at hand, only letters are judged."""
    digits, letters = _sets.mnist("test"), drawn(_sets.notmnist(), ODD)
    x = np.concatenate([digits.x, letters.x])
    y = np.append(digits.y, np.full(ODD, 10))
    return World(Data(x, y, (*digits.classes, "letter")), digits.classes[:5])


def _cifar() -> World:
    data = _sets.cifar("test")
    return World(data, data.classes[:5])


def _pacs() -> World:
    data = _sets.pacs()
    return World(data, data.classes[:5])


WORLDS: dict[str, Callable[[], World]] = {
    "digits": _digits,
    "MNIST, network taught other classes": lambda: _taught(_sets.mnist),
    "Fashion-MNIST, network taught other classes": lambda: _taught(_sets.fashion),
    "MNIST against notMNIST, pixels": _foreign,
    "CIFAR-10, MobileNetV2": _cifar,
    "PACS, MobileNetV2": _pacs,
}


def step_of(world: World, seed: int) -> tuple[Step, Features | None, Features | None]:
    """What is learnt from and judged, and the pixels of both."""
    data, name = world.data, world.turns[seed % len(world.turns)]
    rng, code = np.random.default_rng(seed), data.classes.index(name)
    odd = data.y == len(data.classes) - 1 if "letter" in data.classes else data.y != code
    kept = np.append(
        rng.permutation(np.flatnonzero(data.y == code))[:NORMAL],
        rng.permutation(np.flatnonzero(odd))[:ODD],
    )
    marked = Data(np.arange(len(kept))[:, None], data.y[kept], data.classes)
    step = one_normal(marked, name, 0.5, seed)
    learn, test = (kept[part.x[:, 0]] for part in (step.train, step.test))

    def at(part: Data, rows: NDArray[np.int64]) -> Data:
        return Data(np.asarray(data.x[rows], np.float32), part.y, part.classes)

    cut = Step(at(step.train, learn), at(step.test, test), step.rows)
    return cut, *(
        (None,) * 2 if world.pixels is None else (world.pixels[learn], world.pixels[test])
    )
