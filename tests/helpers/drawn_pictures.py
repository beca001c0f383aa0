"""Pictures of random shapes: each has details of its own, as photographs do."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw


def draw(seed: int, size: tuple[int, int] = (96, 72)) -> Image.Image:
    """Return a picture of random shapes."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", size, tuple(rng.integers(0, 256, 3).tolist()))
    pen = ImageDraw.Draw(image)
    for _ in range(25):
        x, y = rng.integers(0, size[0]), rng.integers(0, size[1])
        w, h = rng.integers(5, 30, 2)
        ink = tuple(rng.integers(0, 256, 3).tolist())
        shape = pen.ellipse if rng.random() < 0.5 else pen.rectangle
        shape((x, y, x + w, y + h), fill=ink)
    return image
