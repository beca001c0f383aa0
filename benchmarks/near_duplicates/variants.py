"""The same picture again: recompressed, resized, cropped a little, brightened, converted."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image, ImageEnhance

Variant = Callable[[Image.Image, np.random.Generator], Image.Image]


def save_again(image: Image.Image, kind: str, **options: object) -> Image.Image:
    """Return the picture after it was written in a format and read again."""
    out = BytesIO()
    image.save(out, kind, **options)
    return Image.open(out).convert("RGB")


def resize(image: Image.Image, factor: float) -> Image.Image:
    """Return the picture with both sides multiplied by a factor."""
    width, height = (max(8, round(side * factor)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def crop(image: Image.Image, share: float, rng: np.random.Generator) -> Image.Image:
    """Return the picture without a share of its width and height, at a random place."""
    width, height = (max(8, round(side * (1 - share))) for side in image.size)
    left, top = (
        int(rng.integers(image.width - width + 1)),
        int(rng.integers(image.height - height + 1)),
    )
    return image.crop((left, top, left + width, top + height))


VARIANTS: dict[str, Variant] = {
    "JPEG, quality 40 to 95": lambda i, r: save_again(i, "JPEG", quality=int(r.integers(40, 96))),
    "WebP, quality 60": lambda i, _: save_again(i, "WEBP", quality=60),
    "GIF, 256 colours": lambda i, _: save_again(i, "GIF"),
    "resized, factor 0.5 to 2": lambda i, r: resize(i, float(2 ** r.uniform(-1, 1))),
    "cropped by 2 %": lambda i, r: crop(i, 0.02, r),
    "cropped by 5 %": lambda i, r: crop(i, 0.05, r),
    "cropped by 10 %": lambda i, r: crop(i, 0.10, r),
    "brightness 0.8 to 1.25": lambda i, r: ImageEnhance.Brightness(i).enhance(
        float(r.uniform(0.8, 1.25))
    ),
}
