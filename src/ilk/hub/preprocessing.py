"""Preprocess images as a network's configuration demands.

An image is resized and cropped to 8-bit pixels when it is decoded (`prepare`); the arithmetic on
floats happens per batch (`normalize`). Both are bit-identical to what timm and Pillow-backed
transformers do, without importing either.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from math import ceil
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ilk.core.capabilities import ResizeMode

PixelArray = NDArray[np.uint8]
FloatArray = NDArray[np.float32]
Size = tuple[int, int]  # height, width
MAX_RESIZE_PIXELS = 2**26  # larger results are never resized in full, only the crop
WAYS: dict[str, ResizeMode] = {"squash": "squash", "contain": "letterbox"}  # by `fit`
POWERS_OF_TWO = frozenset(2**n for n in range(9))  # denominators of sides that are short in binary


@dataclass(frozen=True)
class Preprocess:
    """Resize, crop the centre, normalize.

    Attributes:
        size: Input size of the network, height and width in pixels.
        scale: Size that the image is resized to before the crop, in pixels.
        fit: How to resize to `scale`: `squash` to exactly that; `cover` it, keeping the shape;
            `contain` within it, keeping the shape; `short` edge to `scale[0]`, the long one
            rounded down.
        interpolation: Pillow's name of the resampling filter.
        mean: Per channel, where white is 1.
        std: Per channel, where white is 1.
        fill: Padding of an image smaller than the crop, 0-255 per channel.
        crop: Rounding of half pixels: `round` (half to even) or `floor`.
        factor: Factor applied to pixels; None divides by 255.
    """

    size: Size
    scale: Size
    fit: Literal["short", "cover", "squash", "contain"]
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fill: tuple[int, ...] = (0, 0, 0)
    crop: Literal["round", "floor"] = "round"
    factor: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values, for the feature-store key and the model folder."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @property
    def resize(self) -> ResizeMode:
        """How images of other shapes than the input are treated."""
        return "crop" if self.fit in ("short", "cover") else WAYS[self.fit]

    def with_resize(self, mode: ResizeMode) -> Preprocess:
        """Return the preprocessing with images resized in another way; itself if it is the same.

        `squash` and `letterbox` bring the whole image to the input size. `letterbox` pads with the
        color that normalizes to 0, the mean of the images that the network was trained on. `crop`
        fills the input size with the centre of the image.
        """
        if mode == self.resize:
            return self
        if mode == "crop":
            return replace(self, scale=self.size, fit="cover")
        fit: Literal["squash", "contain"] = "squash" if mode == "squash" else "contain"
        fill = self.fill if mode == "squash" else self._mean_color()
        return replace(self, scale=self.size, fit=fit, fill=fill)

    def without_margin(self) -> Preprocess:
        """Return the preprocessing that cuts off no more than the shape of the image requires."""
        return replace(self, scale=self.size, fit="cover") if self.resize == "crop" else self

    def _mean_color(self) -> tuple[int, ...]:
        factor = 1 / 255 if self.factor is None else self.factor
        return tuple(min(255, max(0, round(mean / factor))) for mean in self.mean)

    def prepare(self, image: Image.Image) -> PixelArray:
        """Return the pixels that the network takes, `[3, h, w]` uint8."""
        new = _compute_size((image.height, image.width), self.scale, self.fit)
        kind = Image.Resampling[self.interpolation.upper()]
        if new[0] < self.size[0] or new[1] < self.size[1]:
            image = self._pad_and_crop(image.resize((new[1], new[0]), kind))
        else:
            start = (self._crop_start(new[0], self.size[0]), self._crop_start(new[1], self.size[1]))
            image = _resize_crop(image, new, start, self.size, kind)
        return np.asarray(image).transpose(2, 0, 1)

    def _crop_start(self, length: int, crop_length: int) -> int:
        gap = length - crop_length
        return gap // 2 if self.crop == "floor" else round(gap / 2)

    def _pad_and_crop(self, image: Image.Image) -> Image.Image:
        """Pad and centre-crop an image that is smaller than the crop on some side."""
        height, width = self.size
        canvas_size = (max(width, image.width), max(height, image.height))
        canvas = Image.new("RGB", canvas_size, self.fill)
        margin = (canvas.width - image.width, canvas.height - image.height)
        # transformers puts an odd pixel on one side, timm on the other
        round_margin = ceil if self.crop == "floor" else int
        canvas.paste(image, (round_margin(margin[0] / 2), round_margin(margin[1] / 2)))
        left = self._crop_start(canvas.width, width)
        top = self._crop_start(canvas.height, height)
        return canvas.crop((left, top, left + width, top + height))

    def locate_input(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Return where the input lies on an image: left, top, right and bottom, in its pixels.

        Where the image is padded, the input reaches over its sides.
        """
        new = _compute_size((height, width), self.scale, self.fit)
        round_margin = ceil if self.crop == "floor" else int
        edges: list[tuple[float, float]] = []
        for old, length, target in zip((height, width), new, self.size, strict=True):
            canvas = max(length, target)
            margin = round_margin((canvas - length) / 2)
            start = self._crop_start(canvas, target) - margin
            edges.append((start * old / length, (start + target) * old / length))
        (top, bottom), (left, right) = edges
        return left, top, right, bottom

    def normalize(self, batch: PixelArray) -> FloatArray:
        """Convert pixels `[b, 3, h, w]` to normalized floats of the same shape."""
        x = np.array(batch, np.float32, order="C")
        for image in x:
            # Plane by plane: all steps of one find it in the core's cache.
            for plane, mean, std in zip(image, self.mean, self.std, strict=True):
                if self.factor is None:
                    plane /= np.float32(255)
                else:
                    plane *= np.float32(self.factor)
                plane -= np.float32(mean)
                if std != 1:
                    plane /= np.float32(std)
        return x


def _compute_size(old: Size, scale: Size, fit: str) -> Size:
    """Return height and width after resizing."""
    if fit == "squash":
        return scale
    if fit == "short":
        short, long = scale[0], int(scale[0] * max(old) / min(old))
        return (short, long) if old[0] <= old[1] else (long, short)
    ratios = (old[0] / scale[0], old[1] / scale[1])
    ratio = min(ratios) if fit == "cover" else max(ratios)
    return max(1, round(old[0] / ratio)), max(1, round(old[1] / ratio))


def _resize_crop(
    image: Image.Image, new: Size, start: Size, size: Size, kind: Image.Resampling
) -> Image.Image:
    """Resize to `new` and crop `size` at `start`."""
    (height, width), (top, left) = size, start
    # e.g. an image 1 pixel wide: bounded memory matters more than the last digit
    is_huge = new[0] * new[1] > MAX_RESIZE_PIXELS
    if is_huge or (kind and _is_exact(image.height, image.width, new)):
        y, x = image.height / new[0], image.width / new[1]
        box = (left * x, top * y, (left + width) * x, (top + height) * y)
        return image.resize((width, height), kind, box=box)
    if (image.height, image.width) != new:
        image = image.resize((new[1], new[0]), kind)
    return image.crop((left, top, left + width, top + height))


def _is_exact(height: int, width: int, new: Size) -> bool:
    """Whether resizing only the cropped box gives the same pixels as resizing everything.

    The box must be exact in Pillow's 24-bit coordinates, and Pillow must resize the axes in the
    same order: it starts with the axis that leaves fewer pixels of the whole image, not of the box;
    with the width if both shrink alike (older versions always start with the width).
    """
    step = Fraction(height, new[0])
    same_ratio = step == Fraction(width, new[1]) and width >= height
    return same_ratio and step.denominator in POWERS_OF_TWO and width < 2**14
