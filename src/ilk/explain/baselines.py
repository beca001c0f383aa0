"""What takes the place of pixels that are taken away: a blurred copy, or the mean colour.

Any replacement makes images that the classifier has never seen, and which one is chosen changes the
ranking of maps; so every measurement uses both.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Fill = Literal["blur", "mean"]
FILLS: tuple[Fill, ...] = ("blur", "mean")
BLUR_PART = 12  # the blur's standard deviation is the side of the picture over this


def fill_picture(picture: Image.Image, fill: Fill) -> Image.Image:
    """Return an RGB picture without its content: blurred, or in its mean colour."""
    if fill == "mean":
        mean = np.asarray(picture, np.float64).reshape(-1, 3).mean(0)
        return Image.new("RGB", picture.size, tuple(round(v) for v in mean))
    return picture.filter(ImageFilter.GaussianBlur(max(picture.size) / BLUR_PART))


def fill_planes(prepared: NDArray[np.uint8], fill: Fill) -> NDArray[np.uint8]:
    """Return a prepared image `[c, h, w]` without its content, plane by plane."""
    if fill == "mean":
        mean = np.round(prepared.mean((1, 2), keepdims=True)).astype(np.uint8)
        return np.broadcast_to(mean, prepared.shape).copy()
    blur = ImageFilter.GaussianBlur(max(prepared.shape[1:]) / BLUR_PART)
    return np.stack([np.asarray(Image.fromarray(plane).filter(blur)) for plane in prepared])
