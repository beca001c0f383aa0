"""From a picture to what a network was trained to see, read from the network's configuration.

A picture is resized and cropped to 8-bit pixels where it is decoded (`prepare`); the arithmetic on
floats waits until the batch (`normalise`). Both give bit for bit what timm and Pillow-backed
transformers give, without importing either.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from torch import Tensor

Pixels = NDArray[np.uint8]
Size = tuple[int, int]  # height, width
HUGE = 2**26  # pixels; more are not resized whole
BINARY = frozenset(2**n for n in range(9))  # denominators of sides that are short in binary


@dataclass(frozen=True)
class Preprocess:
    """Resize, crop about the centre, normalise.

    Attributes:
        size: What the network sees, in pixels.
        scale: What the picture is resized to before the crop, in pixels.
        fit: How `scale` is meant: `squash` to exactly that; `cover` it, keeping the shape;
            `contain` within it, keeping the shape; `short` edge to `scale[0]`, the long one
            rounded down.
        interpolation: Pillow's name of the filter.
        mean: Of each channel, in units where white is 1.
        std: Of each channel.
        fill: What surrounds a picture smaller than the crop, 0-255.
        crop: Which pixel half a pixel falls to: `round` (half to even) or `floor`.
        factor: What a pixel is multiplied with; None divides by 255.
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
        """Plain values, for the address of features and for the model folder."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    def prepare(self, image: Image.Image) -> Pixels:
        """The pixels that the network sees, `[3, h, w]`, rows of memory in picture order."""
        new = _resized((image.height, image.width), self.scale, self.fit)
        kind = Image.Resampling[self.interpolation.upper()]
        if new[0] < self.size[0] or new[1] < self.size[1]:
            image = self._padded(image.resize((new[1], new[0]), kind))
        else:
            start = (self._start(new[0], self.size[0]), self._start(new[1], self.size[1]))
            image = _resize_crop(image, new, start, self.size, kind)
        return np.asarray(image).transpose(2, 0, 1)

    def _start(self, whole: int, part: int) -> int:
        gap = whole - part
        return gap // 2 if self.crop == "floor" else round(gap / 2)

    def _padded(self, image: Image.Image) -> Image.Image:
        """Centre-crop a picture that is smaller than the crop on some side."""
        height, width = self.size
        canvas_size = (max(width, image.width), max(height, image.height))
        canvas = Image.new("RGB", canvas_size, self.fill)
        spare = (canvas.width - image.width, canvas.height - image.height)
        up = ceil if self.crop == "floor" else int  # the two libraries put an odd pixel apart
        canvas.paste(image, (up(spare[0] / 2), up(spare[1] / 2)))
        left = self._start(canvas.width, width)
        top = self._start(canvas.height, height)
        return canvas.crop((left, top, left + width, top + height))

    def normalise(self, batch: Pixels) -> Tensor:
        """Pixels `[b, 3, h, w]` as the floats that the network takes, on the CPU."""
        import torch

        x = torch.from_numpy(np.array(batch, order="C")).to(torch.float32)
        x = x.div_(255) if self.factor is None else x.mul_(self.factor)
        # Plane by plane: a broadcast over a dimension of 3 costs five times as much.
        for plane, mean, std in zip(x.unbind(1), self.mean, self.std, strict=True):
            plane.sub_(mean).div_(std)
        return x


def _resized(old: Size, scale: Size, fit: str) -> Size:
    """Height and width after the resize."""
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
    """Resize to `new` and keep `size` from `start`."""
    (height, width), (top, left) = size, start
    huge = new[0] * new[1] > HUGE  # a picture 1 pixel wide: memory goes before the last digit
    if huge or (kind and _exact(image.height, image.width, new)):
        y, x = image.height / new[0], image.width / new[1]
        box = (left * x, top * y, (left + width) * x, (top + height) * y)
        return image.resize((width, height), kind, box=box)
    if (image.height, image.width) != new:
        image = image.resize((new[1], new[0]), kind)
    return image.crop((left, top, left + width, top + height))


def _exact(height: int, width: int, new: Size) -> bool:
    """Whether resizing only what is kept gives the very pixels of resizing all.

    The ends of the box must be exact in the 24 bits that Pillow has for them, and it must take the
    axes in the same order: it begins with the one that leaves less, the width where both shrink
    alike, and counts the whole picture, not the box (older versions always begin with the width).
    """
    step = Fraction(height, new[0])
    alike = step == Fraction(width, new[1]) and width >= height
    return alike and step.denominator in BINARY and width < 2**14
