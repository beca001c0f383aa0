"""The same picture again, as it turns up in collections; none of it is what ilk calibrates with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from benchmarks.near_duplicates.variants import crop, resize, save_again

Kind = Callable[[Image.Image, np.random.Generator], Image.Image]


def shift_colours(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return the picture with another gain and offset of each channel."""
    pixels = np.asarray(image, np.float32)
    gain, offset = rng.uniform(0.6, 1.3, 3), rng.uniform(-30, 30, 3)
    return Image.fromarray(np.clip(pixels * gain + offset, 0, 255).astype(np.uint8))


def watermark(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return the picture with a bar across its lower part and a diagonal line."""
    out = image.copy()
    draw = ImageDraw.Draw(out)
    w, h = out.size
    top = round(h * float(rng.uniform(0.7, 0.8)))
    draw.rectangle((0, top, w, top + max(2, h // 8)), fill=(240, 240, 240))
    draw.line((0, h // 3, w, h // 4), fill=(255, 255, 255), width=max(1, h // 32))
    return out


KINDS: dict[str, Kind] = {
    "recompressed, quality 20 to 60": lambda i, r: save_again(
        i, "JPEG", quality=int(r.integers(20, 61))
    ),
    "resized, factor 0.5 to 0.8": lambda i, r: resize(i, float(r.uniform(0.5, 0.8))),
    "cropped by 5 %": lambda i, r: crop(i, 0.05, r),
    "cropped by 15 %": lambda i, r: crop(i, 0.15, r),
    "cropped by 30 %": lambda i, r: crop(i, 0.30, r),
    "cropped by 45 %": lambda i, r: crop(i, 0.45, r),
    "mirrored": lambda i, _: ImageOps.mirror(i),
    "mirrored and cropped by 15 %": lambda i, r: crop(ImageOps.mirror(i), 0.15, r),
    "colours shifted": shift_colours,
    "watermarked": watermark,
    "with a border of 8 %": lambda i, r: ImageOps.expand(
        i, max(1, round(0.08 * i.width)), (255,) * 3 if r.random() < 0.5 else (0,) * 3
    ),
    "turned by 5°": lambda i, _: i.rotate(5, Image.Resampling.BICUBIC),
    "turned by 90°": lambda i, _: i.transpose(Image.Transpose.ROTATE_90),
}
"""Kinds of copies; the shares that are cropped are those of both sides. All are saved as PNG."""
