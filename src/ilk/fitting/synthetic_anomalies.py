"""Anomalies made of normal images alone, to compare detectors where no defect is known.

Chun-Liang Li, Kihyuk Sohn, Jinsung Yoon, Tomas Pfister, 2021, CutPaste, arXiv 2104.04015 (a part or
a thin strip of an image, with other colours, pasted elsewhere); Vitjan Zavrtanik, Matej Kristan,
Danijel Skočaj, 2021, DRAEM, arXiv 2108.07610 (foreign texture in an irregular region). Beside them
stand a part that is enlarged, and quarters of the image that changed places.

Departures: the papers train networks to tell such images from normal ones, here they are only
scored; the foreign texture is that of another image, or faint smooth noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageFilter

Rng = np.random.Generator
MakeAnomaly = Callable[[Image.Image, Image.Image, Rng], Image.Image]
MIN_PART, MAX_PART = 0.02, 0.15  # area of a pasted part, as a fraction of the image
MAX_SIDE = 512  # pixels; larger images are reduced first, as encoders do


def paste_part(image: Image.Image, other: Image.Image, rng: Rng) -> Image.Image:
    """Paste a part of the image elsewhere, in slightly other colours."""
    return _paste(image, _jitter(_cut(image, _draw_shape(image, rng), rng), rng), rng)


def paste_strip(image: Image.Image, other: Image.Image, rng: Rng) -> Image.Image:
    """Paste a thin turned strip of the image elsewhere."""
    side = min(image.size)
    shape = (max(1, round(side * rng.uniform(0.02, 0.06))), round(side * rng.uniform(0.15, 0.4)))
    strip = _jitter(_cut(image, shape, rng), rng)
    opaque = Image.new("L", strip.size, 255)
    angle = rng.uniform(-60, 60)
    turned = strip.rotate(angle, Image.Resampling.BILINEAR, expand=True)
    return _paste(image, turned, rng, opaque.rotate(angle, expand=True))


def paste_other(image: Image.Image, other: Image.Image, rng: Rng) -> Image.Image:
    """Paste a part of another normal image."""
    return _paste(image, _cut(other, _draw_shape(image, rng), rng), rng)


def paste_enlarged(image: Image.Image, other: Image.Image, rng: Rng) -> Image.Image:
    """Paste a part of the image, two to three times as large."""
    shape = _draw_shape(image, rng)
    factor = rng.uniform(2, 3)
    small = _cut(image, (round(shape[0] / factor), round(shape[1] / factor)), rng)
    return _paste(image, small.resize(shape, Image.Resampling.BICUBIC), rng)


def mix_noise(image: Image.Image, other: Image.Image, rng: Rng) -> Image.Image:
    """Mix faint smooth coloured noise into an irregular region."""
    region = _draw_region(image.size, rng)
    noise = rng.integers(0, 256, (12, 12, 3), np.uint8)
    texture = Image.fromarray(noise).resize(image.size, Image.Resampling.BICUBIC)
    return Image.composite(Image.blend(image, texture, rng.uniform(0.1, 0.3)), image, region)


def swap_parts(image: Image.Image, other: Image.Image, rng: Rng) -> Image.Image:
    """Let the quarters of the image change places, so that each lies elsewhere."""
    half = (max(1, image.width // 2), max(1, image.height // 2))
    corners = [(x, y) for y in (0, image.height - half[1]) for x in (0, image.width - half[0])]
    turns = int(rng.integers(1, 4))
    changed = image.copy()
    for i, (x, y) in enumerate(corners):
        left, top = corners[(i + turns) % 4]
        changed.paste(image.crop((left, top, left + half[0], top + half[1])), (x, y))
    return changed


KINDS: dict[str, MakeAnomaly] = {
    make.__name__: make
    for make in (paste_part, paste_strip, paste_other, paste_enlarged, mix_noise, swap_parts)
}


def make_anomalies(images: Sequence[Image.Image], seed: int) -> dict[str, list[Image.Image]]:
    """Return one anomaly of each kind for each of at least two normal RGB images.

    An anomaly i is made of image i, and of the next one where a kind takes two.
    """
    rng = np.random.default_rng(seed)
    reduced = [_reduce(image) for image in images]
    return {
        name: [make(image, reduced[i - 1], rng) for i, image in enumerate(reduced)]
        for name, make in KINDS.items()
    }


def _reduce(image: Image.Image) -> Image.Image:
    scale = MAX_SIDE / max(image.size)
    if scale >= 1:
        return image
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))


def _draw_shape(image: Image.Image, rng: Rng) -> tuple[int, int]:
    """Return width and height of a part."""
    area = rng.uniform(MIN_PART, MAX_PART) * image.width * image.height
    ratio = np.exp(rng.uniform(-1, 1)) * image.width / image.height
    width, height = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
    return min(max(1, width), image.width), min(max(1, height), image.height)


def _cut(image: Image.Image, shape: tuple[int, int], rng: Rng) -> Image.Image:
    width, height = (min(max(1, n), side) for n, side in zip(shape, image.size, strict=True))
    left = int(rng.integers(0, image.width - width + 1))
    top = int(rng.integers(0, image.height - height + 1))
    return image.crop((left, top, left + width, top + height))


def _jitter(part: Image.Image, rng: Rng) -> Image.Image:
    """Return a part with each colour up to a fifth stronger or weaker."""
    factors = np.exp(rng.uniform(-0.2, 0.2, 3))
    values = np.asarray(part, np.float64) * factors
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def _paste(
    image: Image.Image, part: Image.Image, rng: Rng, region: Image.Image | None = None
) -> Image.Image:
    changed = image.copy()
    left = int(rng.integers(0, max(1, image.width - part.width + 1)))
    top = int(rng.integers(0, max(1, image.height - part.height + 1)))
    changed.paste(part, (left, top), region)
    return changed


def _draw_region(size: tuple[int, int], rng: Rng) -> Image.Image:
    """Return an irregular region as a grey image: smooth noise above a level, near a place."""
    y, x = np.mgrid[0:16, 0:16] / 15
    centre, width = rng.uniform(0.2, 0.8, 2), rng.uniform(0.1, 0.2)
    bump = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * width**2))
    grey = np.clip(bump + 0.25 * rng.standard_normal((16, 16)) * bump, 0, 1) * 255
    smooth = Image.fromarray(grey.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    blurred = smooth.filter(ImageFilter.GaussianBlur(1))
    return blurred.point(lambda value: 255 if value > 110 else 0)
