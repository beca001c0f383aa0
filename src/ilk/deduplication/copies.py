"""Copies of pictures of a folder, made to learn what copies look like there."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image, ImageEnhance

Copy = Callable[[Image.Image, np.random.Generator], Image.Image]

MIN_SIDE = 8  # pixels of a copy


def _recompress(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    out = BytesIO()
    image.save(out, "JPEG", quality=int(rng.integers(25, 91)))
    return Image.open(out).convert("RGB")


def _resize(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    scale = float(rng.uniform(0.4, 0.9))
    width, height = (max(MIN_SIDE, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def _crop(image: Image.Image, rng: np.random.Generator, low: float, high: float) -> Image.Image:
    kept = 1 - float(rng.uniform(low, high))
    width, height = (max(min(MIN_SIDE, s), round(s * kept)) for s in image.size)
    left, top = (
        int(rng.integers(image.width - width + 1)),
        int(rng.integers(image.height - height + 1)),
    )
    return image.crop((left, top, left + width, top + height))


def _recolour(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhance(image).enhance(float(rng.uniform(0.6, 1.5)))
    return image


def _mirror(image: Image.Image, _rng: np.random.Generator) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def _turn(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return image.rotate(float(rng.uniform(-8, 8)), Image.Resampling.BICUBIC)


COPIES: dict[str, Copy] = {
    "recompressed": _recompress,
    "resized by 0.4 to 0.9": _resize,
    "cropped by up to 15 %": lambda image, rng: _crop(image, rng, 0.02, 0.15),
    "cropped by 15 to 40 %": lambda image, rng: _crop(image, rng, 0.15, 0.4),
    "mirrored": _mirror,
    "recoloured": _recolour,
    "turned by up to 8°": _turn,
}
"""Kinds of copies. The shares that are cropped are those of both sides."""


def make_copy(kind: str, image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return a copy of one of `COPIES`, which is saved as JPEG once more.

    Args:
        kind: One of `COPIES`.
        image: A picture of mode RGB.
        rng: Random numbers.
    """
    return _recompress(COPIES[kind](image, rng), rng)
