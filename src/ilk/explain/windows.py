"""Windows on a picture, and maps of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ilk.explain.contract import Map

Window = tuple[int, int, int, int]  # top, left, bottom, right


def tile_windows(shape: tuple[int, int], side: int, stride: int) -> list[Window]:
    """Return windows of `side` pixels every `stride` pixels that cover a picture, clipped to it."""
    height, width = shape
    rows, columns = (_place(length, side, stride) for length in (height, width))
    return [(t, left, b, right) for t, b in rows for left, right in columns]


def _place(length: int, side: int, stride: int) -> list[tuple[int, int]]:
    """Return starts and ends along one axis; the ends of the picture get as many as its middle."""
    starts = range(-(side - stride), length, stride) if side > stride else range(0, length, stride)
    spans = [(max(0, s), min(length, s + side)) for s in starts]
    return [(start, end) for start, end in spans if end > start]


def cut_windows(shape: tuple[int, int], windows: Sequence[Window]) -> NDArray[np.float32]:
    """Return masks `[n, h, w]` that are 0 inside a window each and 1 elsewhere."""
    masks = np.ones((len(windows), *shape), np.float32)
    for mask, (top, left, bottom, right) in zip(masks, windows, strict=True):
        mask[top:bottom, left:right] = 0.0
    return masks


def average_windows(
    shape: tuple[int, int], windows: Sequence[Window], values: NDArray[np.floating]
) -> Map:
    """Return the map `[h, w]` of the mean of the values `[n]` of the windows over each pixel.

    It is 0 where no window is.
    """
    total, count = np.zeros(shape), np.zeros(shape)
    for (top, left, bottom, right), value in zip(windows, values, strict=True):
        total[top:bottom, left:right] += value
        count[top:bottom, left:right] += 1
    return np.asarray(np.divide(total, count, out=np.zeros(shape), where=count > 0), np.float32)


def resize_map(values: NDArray[np.floating], shape: tuple[int, int]) -> Map:
    """Return a map `[h', w']` at another size, bilinear."""
    image = Image.fromarray(np.asarray(values, np.float32))
    return np.asarray(image.resize(shape[::-1], Image.Resampling.BILINEAR), np.float32)
