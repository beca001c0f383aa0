"""Geometry of images of unknown size: what `Preprocess.prepare` and `resize_image` compute.

Sizes are computed when the file runs, in float64 and int64 as in Python, whose `round` is the
operator `Round`: half to even.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ilk.core.capabilities import ResizeMode
from ilk.export.graphs.graph import Expression
from ilk.export.graphs.resize import Axis, resample
from ilk.hub.preprocessing import Preprocess
from ilk.images.framing import PADDING


@dataclass(frozen=True, eq=False)
class Picture:
    """Images of one size.

    Attributes:
        pixels: `[n, c, height, width]` uint8.
        height: An int64 scalar.
        width: An int64 scalar.
    """

    pixels: Expression
    height: Expression
    width: Expression

    @classmethod
    def from_pixels(cls, pixels: Expression) -> Picture:
        """Return images whose size is read from the pixels `[n, c, h, w]`."""
        return cls(pixels, pixels.length(2), pixels.length(3))

    def mirror(self) -> Picture:
        """Return the images with left and right exchanged."""
        flipped = self.pixels.slice(-1, np.iinfo(np.int64).min, 3, step=-1)
        return Picture(flipped, self.height, self.width)

    def crop_part(self, part: float, place: tuple[float, float]) -> Picture:
        """Return a part of the images at a place, as `ilk.encoders.views.crop_part`."""
        width, height = (
            (length.cast(np.float64) * part).map("Round").maximum(1.0).cast(np.int64)
            for length in (self.width, self.height)
        )
        left, top = (
            ((length - part_length).cast(np.float64) * at).map("Round").cast(np.int64)
            for length, part_length, at in (
                (self.width, width, place[0]),
                (self.height, height, place[1]),
            )
        )
        pixels = self.pixels.slice(top, top + height, 2).slice(left, left + width, 3)
        return Picture(pixels, height, width)

    def to_grey(self) -> Picture:
        """Return the luma of RGB images in Pillow's integers, `[n, 1, h, w]`."""
        red, green, blue = (self.pixels.slice(c, c + 1, 1).cast(np.int32) for c in range(3))
        luma = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) / 0x10000
        return Picture(luma.cast(np.uint8), self.height, self.width)


def prepare(picture: Picture, preprocess: Preprocess) -> Expression:
    """Return the pixels that a network takes, `[n, 3, h, w]` float64, as `Preprocess.prepare`."""
    old = (picture.height, picture.width)
    new = _compute_size(old, preprocess.scale, preprocess.fit)
    axes, masks = [], []
    for length, size, target in zip(old, new, preprocess.size, strict=True):
        canvas = size.maximum(target)
        gap = canvas - size
        # Pixels are numbered from 0, so that the quotients of integers are rounded down.
        margin = (gap + 1) / 2 if preprocess.crop == "floor" else gap / 2
        rest = canvas - target
        half = (rest.cast(np.float64) / 2.0).map("Round").cast(np.int64)
        start = rest / 2 if preprocess.crop == "floor" else half
        axis, mask = _place(length, size, start - margin, target)
        axes.append(axis)
        masks.append(mask)
    kind = preprocess.interpolation.casefold()
    pixels = resample(picture.pixels, axes[0], axes[1], preprocess.size, kind)
    return _fill(pixels, masks, preprocess.fill)


def resize(picture: Picture, size: tuple[int, int], mode: ResizeMode, kind: str) -> Expression:
    """Return images resized to `size`, height and width, as `ilk.images.framing.resize_image`."""
    graph = picture.pixels.graph
    old = (picture.height, picture.width)
    if mode == "squash":
        new = tuple(graph.constant(side, np.int64) for side in size)
        axes = [_place(n, m, m - m, side)[0] for n, m, side in zip(old, new, size, strict=True)]
        return resample(picture.pixels, axes[0], axes[1], size, kind)
    lengths = [n.cast(np.float64) for n in old]
    ratios = [n / float(side) for n, side in zip(lengths, size, strict=True)]
    if mode == "crop":
        least = ratios[0].minimum(ratios[1])
        axes = []
        for n, length, side in zip(old, lengths, size, strict=True):
            part = least * float(side)
            start = ((length - part) / 2.0).maximum(0.0)
            stop = length.minimum(start + part)
            index = graph.constant(np.arange(side), np.int64)
            start, stop = (v.cast(np.float32).cast(np.float64) for v in (start, stop))
            axes.append(Axis(n, graph.constant(side, np.int64), index, start, stop))
        return resample(picture.pixels, axes[0], axes[1], size, kind)
    greatest = ratios[0].maximum(ratios[1])
    axes, masks = [], []
    for n, length, side in zip(old, lengths, size, strict=True):
        inner = (length / greatest).map("Round").maximum(1.0).cast(np.int64)
        margin = (-inner + side) / 2
        axis, mask = _place(n, inner, -margin, side)
        axes.append(axis)
        masks.append(mask)
    return _fill(resample(picture.pixels, axes[0], axes[1], size, kind), masks, PADDING)


def _compute_size(
    old: tuple[Expression, Expression], scale: tuple[int, int], fit: str
) -> list[Expression]:
    """Return height and width after resizing, int64 scalars."""
    graph = old[0].graph
    if fit == "squash":
        return [graph.constant(side, np.int64) for side in scale]
    if fit == "short":
        least, greatest = old[0].minimum(old[1]), old[0].maximum(old[1])
        long = greatest * scale[0] / least  # of integers: OpenVINO computes floats in 32 bits
        is_high = old[0] > old[1]
        return [is_high.select(long, scale[0]), is_high.select(scale[0], long)]
    lengths = [side.cast(np.float64) for side in old]
    ratios = [length / float(side) for length, side in zip(lengths, scale, strict=True)]
    ratio = ratios[0].minimum(ratios[1]) if fit == "cover" else ratios[0].maximum(ratios[1])
    return [(length / ratio).map("Round").maximum(1.0).cast(np.int64) for length in lengths]


def _place(
    length: Expression, size: Expression, start: Expression, target: int
) -> tuple[Axis, Expression]:
    """Return the axis of a whole source, of which `target` pixels from `start` on are wanted.

    Also returns which of them lie inside the result, `[target]` bool; the others repeat its edge.
    """
    graph = length.graph
    index = graph.constant(np.arange(target), np.int64) + start
    is_inside = (index >= 0) & (index < size)
    index = index.maximum(0).minimum(size - 1)
    zero = graph.constant(0.0)
    return Axis(length, size, index, zero, length.cast(np.float64)), is_inside


def _fill(pixels: Expression, masks: Sequence[Expression], color: Sequence[int]) -> Expression:
    """Return pixels `[n, c, h, w]` with a color where a row or column lies outside the image."""
    is_inside = masks[0].reshape(1, 1, -1, 1) & masks[1].reshape(1, 1, 1, -1)
    padding = pixels.graph.constant(np.array(color, np.float64).reshape(1, -1, 1, 1))
    return is_inside.select(pixels, padding)
