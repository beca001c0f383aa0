"""Encoders that are easy to tell apart, and what they are put to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ilk.bench import _sets
from ilk.bench._small_networks import Network, seen_by, taught, weights
from ilk.data import Data, Features, Labels
from ilk.encoders.hog import Hog
from ilk.maths.axes import principal

WIDTH = 32
TAUGHT = 4000  # rows of a source set that networks are taught with; targets take others
LONG, MOMENT = 300, 25  # steps


@dataclass(frozen=True)
class Encoder:
    """A name, what it makes of flat pictures, its number of weights, its network if it has one."""

    name: str
    embed: Callable[[Features], Features]
    parameters: int = 0
    network: Network | None = None


def drawn(data: Data, n: int) -> Data:
    """`n` rows in a random order that is always the same; `-n`: all but those.

    Sets stand class after class, so that the first rows of one would be of few classes.
    """
    order = np.random.default_rng(0).permutation(len(data))
    return data.rows(order[:n] if n > 0 else order[-n:])


@cache
def encoders() -> tuple[Encoder, ...]:
    """The sixteen, the networks freshly taught."""
    mnist, fashion = drawn(_sets.mnist("train"), TAUGHT), drawn(_sets.fashion("train"), TAUGHT)
    letters = drawn(_sets.notmnist(), TAUGHT)
    axes = principal(mnist.x[:1000]).basis[:, :WIDTH]
    plain = [
        Encoder("pixels 28", lambda x: x),
        Encoder("pixels 14", partial(_pooled, side=14)),
        Encoder("pixels 7", partial(_pooled, side=7)),
        Encoder("HOG 32", partial(_hog, side=32)),
        Encoder("HOG 16", partial(_hog, side=16)),
        Encoder("principal axes", lambda x: np.asarray(x @ axes, np.float32), axes.size),
    ]
    tops = fashion.rows(np.isin(fashion.y, (0, 2, 3, 4, 6)))
    nets = {
        "random": Network(2, 64, 8, 1),
        "random, wide": Network(2, 128, 16, 2),
        "MNIST": taught(mnist, LONG, seed=3),
        "MNIST, a moment": taught(mnist, MOMENT, seed=4),
        "MNIST 0-4": taught(mnist.rows(mnist.y < 5), LONG, 32, seed=5),
        "Fashion": taught(fashion, LONG, seed=6),
        "Fashion, wide": taught(fashion, LONG, 128, 16, seed=7),
        "Fashion, a moment": taught(fashion, MOMENT, seed=8),
        "Fashion tops": taught(tops, LONG, 32, seed=9),
        "notMNIST": taught(letters, LONG, seed=10),
    }
    return (
        *plain,
        *(Encoder(n, partial(seen_by, net), weights(net), net) for n, net in nets.items()),
    )


def _pooled(x: Features, side: int) -> Features:
    step = 28 // side
    blocks = x.reshape(-1, side, step, side, step)
    return np.asarray(blocks.mean((2, 4)).reshape(len(x), -1), np.float32)


def _hog(x: Features, side: int) -> Features:
    encoder = Hog(side)
    grey = (x.reshape(-1, 28, 28) * 255).round().astype(np.uint8)
    return encoder.embed(
        np.stack([encoder.prepare(Image.fromarray(g).convert("RGB")) for g in grey])
    )


def targets() -> dict[str, Data]:
    """Sets of which no row was taught to any of the networks."""
    letters = _sets.notmnist()
    return {
        "MNIST": _sets.mnist("test"),
        "USPS": _sets.usps("test"),
        "MNIST-M": _sets.mnist_m(),
        "notMNIST": drawn(letters, -TAUGHT),
        "Fashion-MNIST": _sets.fashion("test"),
    }


def cuts() -> list[Encoder]:
    """Ten cuts of the features of one network on photographs."""
    learnt = _sets.cifar("train")
    axes = principal(learnt.x[:: len(learnt) // 2000]).basis
    columns = np.random.default_rng(0).permutation(axes.shape[0])
    made: list[Encoder] = [Encoder("whole", lambda x: x)]
    for d in (8, 32, 128, 512):
        made.append(Encoder(f"{d} axes", partial(_onto, axes=axes[:, :d])))
    for d in (16, 64, 256, 640):
        made.append(Encoder(f"{d} columns", partial(_picked, columns=columns[:d])))
    made.append(Encoder("axes 65-320", partial(_onto, axes=axes[:, 64:320])))
    return made


def _onto(x: Features, axes: NDArray[np.float64]) -> Features:
    return np.asarray(x @ axes, np.float32)


def _picked(x: Features, columns: Labels) -> Features:
    return np.asarray(x[:, columns], np.float32)


def three() -> tuple[Encoder, ...]:
    """Three for scikit-learn's digits."""
    return (
        Encoder("pixels 8", lambda x: x),
        Encoder("8 axes", partial(_onto, axes=principal(_sets.digits().x).basis[:, :8])),
        Encoder("4 columns", partial(_picked, columns=np.array([20, 21, 36, 42]))),
    )
