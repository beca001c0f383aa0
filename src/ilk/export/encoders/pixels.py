"""Pixels as features."""

from __future__ import annotations

import numpy as np

from ilk.export.graphs.graph import Expression
from ilk.export.graphs.picture import Picture, resize
from ilk.images.pixels import PixelEncoder

ENCODER = PixelEncoder


def write_pixels(encoder: PixelEncoder, picture: Picture) -> Expression:
    """Return resized pixels `[n, c, h, w]`, grey before or after as `PixelEncoder.prepare`."""
    size = (encoder.height, encoder.width)
    is_grey = encoder.channels == 1
    if is_grey and encoder.resize == "squash":
        return resize(picture.to_grey(), size, "squash", "bilinear")
    pixels = resize(picture, size, encoder.resize, "bilinear")
    if not is_grey:
        return pixels
    grey = Picture(pixels.cast(np.uint8), picture.height, picture.width).to_grey()
    return grey.pixels.cast(np.float64)


def write_features(encoder: PixelEncoder, pixels: Expression) -> Expression:
    """Return flattened pixels `[n, d]` in [0, 1]."""
    return pixels.cast(np.float32).reshape(-1, encoder.space.dim) / np.float32(255)
