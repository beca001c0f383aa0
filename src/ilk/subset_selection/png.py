"""Pixels as PNG files."""

from __future__ import annotations

from io import BytesIO

from PIL import Image
from torch import Tensor


def to_image(pixels: Tensor) -> Image.Image:
    """Return an image of pixels `[c, h, w]` uint8, grey or RGB."""
    array = pixels.permute(1, 2, 0).numpy()
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)


def encode_png(pixels: Tensor) -> bytes:
    """Return pixels `[c, h, w]` uint8 as a PNG file."""
    buffer = BytesIO()
    to_image(pixels).save(buffer, "PNG")
    return buffer.getvalue()
