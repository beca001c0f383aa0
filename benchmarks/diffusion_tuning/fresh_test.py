"""Test images that the other benchmarks do not use."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.diffusion_setup import TEST_PER_CLASS, read_archive
from benchmarks.runner import shared_path
from ilk.training.trainer import Batch

ARCHIVES = {
    "fashion": (("fashion_mnist", "fashion_mnist_png.tar.gz"), "L"),
    "cifar": (("cifar10_jpeg", "cifar10_jpeg.tar.gz"), "RGB"),
}


def load_fresh_test(name: str, per_class: int) -> Batch:
    """Load the `per_class` test images of each class that follow those of the other benchmarks."""
    parts, mode = ARCHIVES[name]
    files = read_archive(shared_path("data", *parts), mode)
    names = sorted({c for _, c, _ in files})
    wanted = range(TEST_PER_CLASS, TEST_PER_CLASS + per_class)
    rows = [
        (names.index(c), pixels)
        for path, c, pixels in files
        if "test/" in path and int(Path(path).stem) in wanted
    ]
    x = torch.stack([torch.from_numpy(pixels) for _, pixels in rows])
    return Batch(x, torch.tensor([c for c, _ in rows]))
