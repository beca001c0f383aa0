"""Test images: the whole official test part, and images that the other benchmarks do not use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.diffusion_setup import TEST_PER_CLASS, read_archive
from benchmarks.runner import shared_path
from ilk.training.trainer import Batch

ARCHIVES = {
    "fashion": (("fashion_mnist", "fashion_mnist_png.tar.gz"), "L"),
    "cifar": (("cifar10_jpeg", "cifar10_jpeg.tar.gz"), "RGB"),
}


@dataclass(frozen=True, eq=False)
class OfficialTest:
    """The test part as published.

    Attributes:
        images: All images, 1,000 of each class.
        is_usual: Which of them `[n]` the other benchmarks test on: the first 100 of each class.
    """

    images: Batch
    is_usual: Tensor

    @property
    def usual(self) -> Batch:
        """The images that the other benchmarks test on."""
        return Batch(self.images.x[self.is_usual], self.images.y[self.is_usual])


def load_official_test(name: str, small: bool = False) -> OfficialTest:
    """Load the official test part of a data set; if `small`, every 50th of its images."""
    images, numbers = _load(name)
    rows = slice(None, None, 50 if small else 1)
    return OfficialTest(Batch(images.x[rows], images.y[rows]), (numbers < TEST_PER_CLASS)[rows])


def load_fresh_test(name: str, per_class: int) -> Batch:
    """Load the `per_class` test images of each class that follow those of the other benchmarks."""
    images, numbers = _load(name)
    rows = (numbers >= TEST_PER_CLASS) & (numbers < TEST_PER_CLASS + per_class)
    return Batch(images.x[rows], images.y[rows])


def _load(name: str) -> tuple[Batch, Tensor]:
    """Return the test images, and the number `[n]` of each within its class."""
    parts, mode = ARCHIVES[name]
    files = [f for f in read_archive(shared_path("data", *parts), mode) if "test/" in f[0]]
    names = sorted({c for _, c, _ in files})
    x = torch.from_numpy(np.stack([pixels for _, _, pixels in files]))
    y = torch.tensor([names.index(c) for _, c, _ in files])
    return Batch(x, y), torch.tensor([int(Path(path).stem) for path, _, _ in files])
