"""Canvases whose evidence is known: a digit among distractors on a texture, and its mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets import read_fashion, read_mnist

SIDE, GLYPH = 56, 28
DISTRACTOR = 20  # pixels a side of a Fashion item
MAX_TRIES = 50


@dataclass(frozen=True, eq=False)
class Canvases:
    """Images with their digit and where it lies.

    Attributes:
        images: `[n, 56, 56]` uint8, grey.
        y: The digit, `[n]`.
        masks: Whether a pixel belongs to the digit's box where it is drawn, `[n, 56, 56]`.
    """

    images: NDArray[np.uint8]
    y: NDArray[np.int64]
    masks: NDArray[np.bool_]


def draw_canvases(n: int, seed: int, part: str = "train") -> Canvases:
    """Return canvases of MNIST digits with one to three Fashion items; sizes and places vary.

    Args:
        n: Number of canvases.
        seed: Seed of everything.
        part: `train` or `test`, of both sources.
    """
    rng = np.random.default_rng(seed)
    digits, items = read_mnist(part), read_fashion(part)
    images = np.zeros((n, SIDE, SIDE), np.uint8)
    masks = np.zeros((n, SIDE, SIDE), bool)
    chosen = rng.integers(len(digits.y), size=n)
    for i, row in enumerate(chosen):
        canvas = _draw_texture(rng)
        used = np.zeros((SIDE, SIDE), bool)
        glyph = digits.x[row].reshape(GLYPH, GLYPH)
        top, left = rng.integers(0, SIDE - GLYPH + 1, 2)
        _paste(canvas, glyph, top, left)
        used[top : top + GLYPH, left : left + GLYPH] = True
        masks[i, top : top + GLYPH, left : left + GLYPH] = _grow(glyph > 0.25)
        for _ in range(rng.integers(1, 4)):
            item = items.x[rng.integers(len(items.y))].reshape(GLYPH, GLYPH)
            _add_distractor(canvas, item[4:-4, 4:-4], used, rng)
        images[i] = np.clip(canvas * 255, 0, 255).astype(np.uint8)
    return Canvases(images, digits.y[chosen].astype(np.int64), masks)


def _draw_texture(rng: np.random.Generator) -> NDArray[np.float64]:
    coarse = rng.random((SIDE // 4, SIDE // 4)).repeat(4, 0).repeat(4, 1)
    return 0.25 * coarse + 0.1 * rng.random((SIDE, SIDE))


def _paste(canvas: NDArray[np.float64], glyph: NDArray[np.floating], top: int, left: int) -> None:
    height, width = glyph.shape
    part = canvas[top : top + height, left : left + width]
    np.maximum(part, glyph, out=part)


def _grow(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask with a margin of two pixels."""
    padded = np.pad(mask, 2)
    height, width = mask.shape
    shifted = [padded[i : i + height, j : j + width] for i in range(5) for j in range(5)]
    return np.asarray(np.any(shifted, axis=0))


def _add_distractor(
    canvas: NDArray[np.float64],
    item: NDArray[np.floating],
    used: NDArray[np.bool_],
    rng: np.random.Generator,
) -> None:
    """Draw an item where nothing lies yet, if there is such a place."""
    for _ in range(MAX_TRIES):
        top, left = rng.integers(0, SIDE - DISTRACTOR + 1, 2)
        area = used[top : top + DISTRACTOR, left : left + DISTRACTOR]
        if not area.any():
            _paste(canvas, item, int(top), int(left))
            area[:] = True
            return
