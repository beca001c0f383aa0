"""A folder of images in three colours, whose names tell their class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}
PER_COLOUR = 20


def write_images(folder: Path, seed: int = 0, per_colour: int = PER_COLOUR) -> None:
    """Write noisy images in one colour each; their names tell it."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for name, colour in COLOURS.items():
        for i in range(per_colour):
            pixels = np.clip(rng.normal(colour, 30, (8, 8, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{name}_{seed}_{i}.png")


def tell(path: str) -> str:
    """Return the class of an image by its name."""
    return path.rsplit("/", 1)[-1].split("_")[0]
