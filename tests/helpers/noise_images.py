"""Small pictures that are neither flat nor like each other."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """An RGB picture of random pixels."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def save_noise(path: Path, seed: int) -> Path:
    """Write a PNG of 16 x 16 random pixels, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise(16, 16, seed).save(path)
    return path


def write_two_classes(home: Path, images: Iterable[Image.Image], digits: int = 2) -> None:
    """Write images as PNG, by turns in the folders dog and cat, named by their number."""
    for i, image in enumerate(images):
        path = home / ("cat" if i % 2 else "dog") / f"{i:0{digits}}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
