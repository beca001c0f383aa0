"""Digits in other worlds, for the benchmark of methods that meet one: turned, other hands, colours.

Features are histograms of oriented gradients of 28 x 28 pixels (324), unless a set is named by its
own pixels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ilk.bench import _sets
from ilk.data import Data, Features
from ilk.encoders.hog import Hog
from ilk.models import Linear

SIDE = 32
CHUNK = 500
Scores = dict[str, list[float]]  # one figure a seed, by contender


def draw(seed: int) -> np.random.Generator:
    """What a seed draws; other draws than those that defaults were fixed on."""
    return np.random.default_rng((7, seed))


def accuracy(model: Any, test: Data) -> float:
    """Share of the rows of `test` that a model answers rightly."""
    return float(np.mean(model.logits(test.x).argmax(1) == test.y))


def halves(data: Data) -> tuple[Data, Data]:
    """The first half of the rows, and the second."""
    cut = len(data) // 2
    return data.rows(np.arange(cut)), data.rows(np.arange(cut, len(data)))


def hog(x: Features) -> Features:
    """Of pixels `[n, 784]`, in a frame of 2 pixels."""
    images = (x.reshape(-1, 28, 28) * 255).round().astype(np.uint8)
    framed = np.pad(images, ((0, 0), (2, 2), (2, 2)))[:, None]
    parts = [Hog(SIDE).embed(framed[at : at + CHUNK]) for at in range(0, len(x), CHUNK)]
    return np.concatenate(parts)


def turned(x: Features, degrees: float) -> Features:
    """Square images `[n, side^2]` turned about their middle, as many pixels."""
    from scipy import ndimage

    side = round(x.shape[1] ** 0.5)
    images = x.reshape(-1, side, side)
    made = ndimage.rotate(images, degrees, axes=(1, 2), reshape=False, order=1)
    return np.clip(made, 0, 1).reshape(len(x), -1).astype(np.float32)


def eighth(x: Features) -> Features:
    """MNIST's pixels `[n, 784]` as scikit-learn's digits are: the inner 22 x 22 on 8 x 8."""
    inner = (x.reshape(-1, 28, 28)[:, 3:25, 3:25] * 255).round().astype(np.uint8)
    small = [
        np.asarray(Image.fromarray(image).resize((8, 8), Image.Resampling.BOX)) for image in inner
    ]
    return (np.stack(small).reshape(len(x), -1) / 255).astype(np.float32)


def drawn(data: Data, n: int, rng: np.random.Generator) -> Data:
    """At most `n` rows, in an order drawn."""
    return data.rows(rng.permutation(len(data))[:n])


def many_angles(data: Data, degrees: tuple[float, ...], features: bool = True) -> Data:
    """The rows in as many parts, each turned by its angle; `domain` is the number of the angle."""
    parts = np.array_split(np.arange(len(data)), len(degrees))
    x = np.concatenate([turned(data.x[p], a) for p, a in zip(parts, degrees, strict=True)])
    domain = np.concatenate([np.full(len(p), d) for d, p in enumerate(parts)])
    return replace(data, x=hog(x) if features else x, domain=domain)


def digits_of(name: str, part: str = "train") -> Data:
    """A set of digits by name, as gradients."""
    data = _sets.mnist_m() if name == "mnist_m" else getattr(_sets, name)(part)
    return replace(data, x=hog(data.x))


class EntropyMinimiser:
    """A linear head whose features are scaled and shifted so that its answers grow surer.

    Dequan Wang and others, 2021, Tent: Fully Test-time Adaptation by Entropy Minimization,
    arXiv 2006.10726: one step of Adam (rate 1e-3) on the mean entropy of each batch. Where Tent
    tunes the scale and shift of batch norms, here those of the standardised features are tuned.
    It goes through a stream once and is no method: a baseline that the table needs.
    """

    def __init__(self, head: Linear, source: Features, rate: float = 1e-3) -> None:
        self.centre = source.mean(0, dtype=np.float64)
        self.scale = source.std(0, dtype=np.float64) + 1e-6
        self.weight, self.rate = head.weight * self.scale, rate
        self.bias = head.bias + head.weight @ self.centre
        self.theta = np.stack([np.ones(len(self.centre)), np.zeros(len(self.centre))])
        self.made = 0
        self.mean: NDArray[Any] = np.zeros_like(self.theta)
        self.square: NDArray[Any] = np.zeros_like(self.theta)

    def answer(self, x: Features) -> NDArray[np.int64]:
        """Classes of a batch as the head is now; then it takes its step."""
        z = (x - self.centre) / self.scale
        p, slope = self.entropy(z)
        self.made += 1
        self.mean = 0.9 * self.mean + 0.1 * slope
        self.square = 0.999 * self.square + 0.001 * slope**2
        ahead = self.mean / (1 - 0.9**self.made)
        root = np.sqrt(self.square / (1 - 0.999**self.made)) + 1e-8
        self.theta = self.theta - self.rate * ahead / root
        return np.asarray(p.argmax(1))

    def entropy(self, z: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Probabilities of standardised rows, and the slope of their mean entropy in `theta`."""
        from scipy.special import log_softmax

        log_p = log_softmax((self.theta[0] * z + self.theta[1]) @ self.weight.T + self.bias, axis=1)
        p = np.exp(log_p)
        height = -np.sum(p * log_p, axis=1, keepdims=True)
        back = (-p * (log_p + height) / len(z)) @ self.weight
        return p, np.stack([(z * back).sum(0), back.sum(0)])
