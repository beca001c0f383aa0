"""Digits under distribution shift: rotated, by other writers, in colour.

Features are histograms of oriented gradients of 28 x 28 pixels (324), unless a data set states
pixels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks import datasets
from ilk.core.data import Data, Features
from ilk.core.linear_models import Linear
from ilk.encoders.hog import HogEncoder

IMAGE_SIZE = 32
BATCH_SIZE = 500
Scores = dict[str, list[float]]  # one value per seed, by method


def make_rng(seed: int) -> np.random.Generator:
    """Return the generator of a seed, different from the samples that defaults were chosen on."""
    return np.random.default_rng((7, seed))


def accuracy(model: Any, test: Data) -> float:
    """Return the accuracy of a model on `test`."""
    return float(np.mean(model.logits(test.x).argmax(1) == test.y))


def halve_rows(data: Data) -> tuple[Data, Data]:
    """Return the first and the second half of the rows."""
    half = len(data) // 2
    return data.take(np.arange(half)), data.take(np.arange(half, len(data)))


def compute_hog(x: Features) -> Features:
    """Return oriented gradients `[n, 324]` of pixels `[n, 784]`, padded by 2 pixels."""
    images = (x.reshape(-1, 28, 28) * 255).round().astype(np.uint8)
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2)))[:, None]
    parts = [
        HogEncoder(IMAGE_SIZE).embed(padded[at : at + BATCH_SIZE])
        for at in range(0, len(x), BATCH_SIZE)
    ]
    return np.concatenate(parts)


def rotate_images(x: Features, degrees: float) -> Features:
    """Rotate square images `[n, side^2]` about their centre."""
    from scipy import ndimage

    side = round(x.shape[1] ** 0.5)
    images = x.reshape(-1, side, side)
    rotated = ndimage.rotate(images, degrees, axes=(1, 2), reshape=False, order=1)
    return np.clip(rotated, 0, 1).reshape(len(x), -1).astype(np.float32)


def downscale_to_8(x: Features) -> Features:
    """Convert MNIST's pixels `[n, 784]` to the 8 x 8 format of scikit-learn's digits."""
    inner = (x.reshape(-1, 28, 28)[:, 3:25, 3:25] * 255).round().astype(np.uint8)
    resized = [
        np.asarray(Image.fromarray(image).resize((8, 8), Image.Resampling.BOX)) for image in inner
    ]
    return (np.stack(resized).reshape(len(x), -1) / 255).astype(np.float32)


def sample_rows(data: Data, n: int, rng: np.random.Generator) -> Data:
    """Return at most `n` rows in random order."""
    return data.take(rng.permutation(len(data))[:n])


def make_angle_domains(data: Data, angles: tuple[float, ...], use_hog: bool = True) -> Data:
    """Split the rows into one part per angle and rotate it; `domain` is the index of the angle."""
    parts = np.array_split(np.arange(len(data)), len(angles))
    x = np.concatenate([rotate_images(data.x[p], a) for p, a in zip(parts, angles, strict=True)])
    domain = np.concatenate([np.full(len(p), d) for d, p in enumerate(parts)])
    return replace(data, x=compute_hog(x) if use_hog else x, domain=domain)


def load_digit_set(name: str, part: str = "train") -> Data:
    """Load a data set of digits by name, as oriented gradients."""
    data = datasets.read_mnist_m() if name == "mnist_m" else getattr(datasets, f"read_{name}")(part)
    return replace(data, x=compute_hog(data.x))


class Tent:
    """A linear head whose features are scaled and shifted to lower the entropy of its predictions.

    Dequan Wang and others, 2021, Tent: Fully Test-time Adaptation by Entropy Minimization, arXiv
    2006.10726: one step of Adam (rate 1e-3) on the mean entropy of each batch. Where Tent tunes the
    scale and shift of batch norms, this tunes those of the standardised features. A baseline only.
    """

    def __init__(self, head: Linear, source: Features, lr: float = 1e-3) -> None:
        self.centre = source.mean(0, dtype=np.float64)
        self.scale = source.std(0, dtype=np.float64) + 1e-6
        self.weight, self.lr = head.weight * self.scale, lr
        self.bias = head.bias + head.weight @ self.centre
        self.scale_and_shift = np.stack([np.ones(len(self.centre)), np.zeros(len(self.centre))])
        self.n_updates = 0
        self.first_moment: NDArray[Any] = np.zeros_like(self.scale_and_shift)
        self.second_moment: NDArray[Any] = np.zeros_like(self.scale_and_shift)

    def predict_and_adapt(self, x: Features) -> NDArray[np.int64]:
        """Return the classes of a batch under the present head, then take one step."""
        z = (x - self.centre) / self.scale
        p, gradient = self.entropy_gradient(z)
        self.n_updates += 1
        self.first_moment = 0.9 * self.first_moment + 0.1 * gradient
        self.second_moment = 0.999 * self.second_moment + 0.001 * gradient**2
        corrected_mean = self.first_moment / (1 - 0.9**self.n_updates)
        root_mean_square = np.sqrt(self.second_moment / (1 - 0.999**self.n_updates)) + 1e-8
        self.scale_and_shift = self.scale_and_shift - self.lr * corrected_mean / root_mean_square
        return np.asarray(p.argmax(1))

    def entropy_gradient(self, z: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return probabilities of standardised rows, and the gradient of their mean entropy."""
        from scipy.special import log_softmax

        log_p = log_softmax(
            (self.scale_and_shift[0] * z + self.scale_and_shift[1]) @ self.weight.T + self.bias,
            axis=1,
        )
        p = np.exp(log_p)
        entropies = -np.sum(p * log_p, axis=1, keepdims=True)
        backward = (-p * (log_p + entropies) / len(z)) @ self.weight
        return p, np.stack([(z * backward).sum(0), backward.sum(0)])
