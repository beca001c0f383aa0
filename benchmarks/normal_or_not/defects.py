"""Defects painted on photographs, with their masks: kinds that `ilk` does not make itself.

What `ilk detect fit` makes to choose a detector (`ilk.fitting.synthetic_anomalies`) are pasted
cuts and noise; these are lines, stains, holes, smears and displaced parts.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Mask = NDArray[np.bool_]
Defect = Callable[[Image.Image, np.random.Generator], tuple[Image.Image, Mask]]
MIN_CHANGE = 8  # grey values that a pixel must change by to count as defective


def paint_scratch(image: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, Mask]:
    """Draw a thin bent line, brighter or darker than its surroundings."""
    side = min(image.size)
    start = rng.uniform(0.15, 0.85, 2) * image.size
    angle, points = rng.uniform(0, 2 * np.pi), [tuple(start)]
    for _ in range(4):
        angle += rng.normal(0, 0.5)
        x, y = points[-1]
        points.append((x + 0.1 * side * np.cos(angle), y + 0.1 * side * np.sin(angle)))
    region = Image.new("L", image.size)
    ImageDraw.Draw(region).line(points, 255, max(1, round(0.02 * side)), "curve")
    return _blend(image, region, _shift_brightness(image, rng.choice([-70, 70])))


def paint_stain(image: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, Mask]:
    """Darken a soft round region by a third, with a hue of its own."""
    hue = np.array([1.0, rng.uniform(0.75, 1), rng.uniform(0.5, 0.8)]) * 0.7
    changed = np.asarray(image, np.float64) * hue
    region = _draw_blob(image.size, rng, 0.1).filter(ImageFilter.GaussianBlur(2))
    return _blend(image, region, changed)


def paint_hole(image: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, Mask]:
    """Fill a region of irregular outline with a flat dark grey."""
    changed = np.full((image.height, image.width, 3), rng.uniform(10, 60))
    return _blend(image, _draw_blob(image.size, rng, 0.06), changed)


def paint_smear(image: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, Mask]:
    """Blur a region until its texture is gone."""
    blurred = image.filter(ImageFilter.GaussianBlur(0.04 * min(image.size)))
    region = _draw_blob(image.size, rng, 0.12).filter(ImageFilter.GaussianBlur(1))
    return _blend(image, region, np.asarray(blurred, np.float64))


def paint_shift(image: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, Mask]:
    """Turn the content of a disc by 60 to 120 degrees."""
    region = _draw_blob(image.size, rng, 0.13, roughness=0.0)
    x, y = _find_centre(region)
    turned = image.rotate(rng.uniform(60, 120), Image.Resampling.BICUBIC, center=(x, y))
    return _blend(image, region, np.asarray(turned, np.float64))


DEFECTS: dict[str, Defect] = {
    "scratch": paint_scratch,
    "stain": paint_stain,
    "hole": paint_hole,
    "smear": paint_smear,
    "turned part": paint_shift,
}


def _draw_blob(
    size: tuple[int, int], rng: np.random.Generator, radius: float, roughness: float = 0.35
) -> Image.Image:
    """Return a region with a random outline as a grey image; `radius` is relative to the side."""
    side, centre = min(size), rng.uniform(0.2, 0.8, 2) * size
    angles = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    radii = radius * side * (1 + roughness * rng.uniform(-1, 1, len(angles)))
    outline = centre + radii[:, None] * np.column_stack([np.cos(angles), np.sin(angles)])
    region = Image.new("L", size)
    ImageDraw.Draw(region).polygon([tuple(point) for point in outline], 255)
    return region


def _find_centre(region: Image.Image) -> tuple[float, float]:
    rows, columns = np.nonzero(np.asarray(region))
    return float(columns.mean()), float(rows.mean())


def _shift_brightness(image: Image.Image, by: float) -> NDArray[np.float64]:
    return np.asarray(image, np.float64) + by


def _blend(
    image: Image.Image, region: Image.Image, changed: NDArray[np.float64]
) -> tuple[Image.Image, Mask]:
    """Return the image with `changed` where `region` is white, and which pixels are others."""
    alpha = np.asarray(region, np.float64)[..., None] / 255
    before = np.asarray(image, np.float64)
    after = np.clip(before * (1 - alpha) + changed * alpha, 0, 255).round()
    mask = (np.abs(after - before).max(2) >= MIN_CHANGE) & (alpha[..., 0] > 0.5)
    return Image.fromarray(after.astype(np.uint8)), mask
