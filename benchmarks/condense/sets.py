"""MNIST as pixels, plain and on a texture that all classes share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.datasets import read_mnist
from ilk.core.data import Labels

TEXTURE = 0.7  # greatest brightness of the texture
EXPLORED = 3000  # test images that were looked at while the methods were written
N_TEST = 4000


@dataclass(frozen=True, eq=False)
class Digits:
    """Training and test images.

    Attributes:
        x: `[n, 1, 28, 28]` uint8.
        y: `[n]`.
        x_test: `[m, 1, 28, 28]` uint8.
        y_test: `[m]`.
    """

    x: Tensor
    y: Tensor
    x_test: Tensor
    y_test: Labels

    @property
    def features(self) -> NDArray[np.float32]:
        """Pixels in [0, 1], `[n, 784]`."""
        return (self.x.flatten(1).numpy() / np.float32(255)).astype(np.float32)


def read_digits(*, small: bool) -> Digits:
    """Read MNIST: 20,000 training images and test images that chose nothing."""
    train, test = read_mnist("train"), read_mnist("test")
    fresh = find_fresh_rows(len(test.y))[: 100 if small else N_TEST]
    used = np.random.default_rng(0).permutation(len(train.y))[: 600 if small else None]
    return Digits(
        _to_pixels(train.x[used]),
        torch.from_numpy(np.array(train.y[used])),
        _to_pixels(test.x[fresh]),
        np.array(test.y[fresh]),
    )


def find_fresh_rows(n: int) -> NDArray[np.int64]:
    """Return the test rows that were not looked at while settings were chosen."""
    first = np.random.default_rng(0).permutation(n)[:EXPLORED]
    generator = torch.Generator().manual_seed(0)
    second = torch.randperm(n, generator=generator)[:EXPLORED].numpy()
    return np.setdiff1d(np.arange(n), np.concatenate([first, second]))


def add_texture(digits: Digits, seed: int) -> Digits:
    """Return the digits before one texture, which is shifted at random in each image."""
    rng = np.random.default_rng([seed, 77])
    spectrum = np.fft.fft2(rng.standard_normal((28, 28)))
    frequency = np.hypot(np.fft.fftfreq(28)[:, None], np.fft.fftfreq(28)[None])
    values = np.fft.ifft2(spectrum * np.exp(-((frequency / 0.15) ** 2))).real
    values = (values - values.min()) / (values.max() - values.min())
    texture = np.round(255 * TEXTURE * values).astype(np.uint8)

    def paint(x: Tensor) -> Tensor:
        shifts = rng.integers(0, 28, (len(x), 2))
        behind = np.stack([np.roll(texture, tuple(s), (0, 1)) for s in shifts])[:, None]
        return torch.maximum(x, torch.from_numpy(behind))

    return Digits(paint(digits.x), digits.y, paint(digits.x_test), digits.y_test)


def _to_pixels(x: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.rint(x * 255).astype(np.uint8)).view(-1, 1, 28, 28)
