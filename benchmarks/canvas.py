"""Canvases with one digit and distractors at random places: images whose explanation is known.

A canvas is black or textured, and holds a digit of MNIST (the class), and up to three Fashion-MNIST
items or notMNIST letters, which say nothing of the class. Where the digit lies is known, so that a
map can be compared with its mask. Training canvases are made of training images, test canvases of
test images.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.datasets import read_fashion, read_mnist, read_notmnist

SIDE = 56  # pixels
N_CLASSES = 10
TEXTURE = 0.35  # brightest the background may be; ink goes up to 1
INK = 0.25  # a pixel of an item is ink above this
N_TRAINING_LETTERS = 8000  # of notMNIST's 10,000; the others are for tests
TRIES = 60  # random places of an item before it is left out

FloatArray = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Canvases:
    """Images with what is known about them.

    Attributes:
        x: Pixels `[n, 1, 56, 56]` in [0, 1].
        y: The digit, `[n]`.
        ink: The digit's ink, `[n, 56, 56]`.
        mask: The ink with a margin of one pixel, `[n, 56, 56]`.
        box: Left, top, right and bottom of its ink, right and bottom excluded, `[n, 4]`.
        others: The distractors' ink with that margin, `[n, 56, 56]`.
        n_distractors: Number of distractors, `[n]`.
    """

    x: FloatArray
    y: NDArray[np.int64]
    ink: Mask
    mask: Mask
    box: NDArray[np.int64]
    others: Mask
    n_distractors: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: NDArray[np.int64] | slice) -> Canvases:
        """Return some of the canvases."""
        return Canvases(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def to_images(self) -> list[Image.Image]:
        """Return them as RGB images."""
        grey = np.rint(self.x[:, 0] * 255).astype(np.uint8)
        return [Image.fromarray(pixels).convert("RGB") for pixels in grey]


def make_canvases(
    n: int,
    seed: int,
    part: str = "train",
    *,
    textured: bool = True,
    max_distractors: int = 3,
    touching: bool = False,
) -> Canvases:
    """Make canvases; the same arguments give the same canvases.

    Args:
        n: Number of canvases.
        seed: Seed of digits, distractors, places and textures.
        part: `train` or `test`: which images they are made of.
        textured: Whether the background is a smooth random texture with noise, or black.
        max_distractors: The number of distractors is uniform from 0 (1 if `touching`) to this.
        touching: Whether the first distractor touches the digit's box.
    """
    rng = np.random.default_rng([seed, part == "test"])
    digits, pool = read_mnist(part), _read_distractors(part)
    rows, made = rng.integers(0, len(digits.x), n), []
    for row in rows:
        count = int(rng.integers(int(touching), max_distractors + 1))
        others = [_trim(pool[i]) for i in rng.integers(0, len(pool), count)]
        made.append(_draw(_trim(digits.x[row].reshape(28, 28)), others, rng, textured, touching))
    x, ink, box, other_ink, n_others = (np.stack(p) for p in zip(*made, strict=True))
    return Canvases(x[:, None], digits.y[rows], ink, _widen(ink), box, _widen(other_ink), n_others)


def _read_distractors(part: str) -> FloatArray:
    """Return items and letters `[m, 28, 28]`."""
    letters = read_notmnist().x
    letters = letters[:N_TRAINING_LETTERS] if part == "train" else letters[N_TRAINING_LETTERS:]
    return np.concatenate([read_fashion(part).x[: len(letters)], letters]).reshape(-1, 28, 28)


def _trim(item: FloatArray) -> FloatArray:
    """Return an item `[28, 28]` cut to its ink, at most 20 pixels wide and high as digits are."""
    rows, columns = np.flatnonzero((item > INK).any(1)), np.flatnonzero((item > INK).any(0))
    if not len(rows):
        return item[:1, :1]
    item = item[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    if max(item.shape) <= 20:
        return item
    height, width = (max(1, round(side * 20 / max(item.shape))) for side in item.shape)
    small = Image.fromarray(item).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(small, np.float32)


def _draw(
    digit: FloatArray,
    others: list[FloatArray],
    rng: np.random.Generator,
    textured: bool,
    touching: bool,
) -> tuple[FloatArray, Mask, NDArray[np.int64], Mask, NDArray[np.int64]]:
    """Return one canvas: pixels, the digit's ink, its box, the distractors' ink, their number."""
    canvas = _make_texture(rng) if textured else np.zeros((SIDE, SIDE), np.float32)
    taken, ink, other_ink = (np.zeros((SIDE, SIDE), np.bool_) for _ in range(3))
    top, left = (int(rng.integers(0, SIDE - side + 1)) for side in digit.shape)
    box = (left, top, left + digit.shape[1], top + digit.shape[0])
    _paste(canvas, taken, ink, digit, top, left)
    count = 0
    for other in others:
        place = _find_place(other, taken, box if touching and not count else None, rng)
        if place is not None:
            _paste(canvas, taken, other_ink, other, *place)
            count += 1
    return canvas, ink, np.array(box), other_ink, np.array(count)


def _paste(
    canvas: FloatArray, taken: Mask, mask: Mask, item: FloatArray, top: int, left: int
) -> None:
    """Draw an item, and note its box and its ink."""
    place = (slice(top, top + item.shape[0]), slice(left, left + item.shape[1]))
    canvas[place] = np.maximum(canvas[place], item)
    taken[place] = True
    mask[place] |= item > INK


def _find_place(
    item: FloatArray,
    taken: Mask,
    beside: tuple[int, int, int, int] | None,
    rng: np.random.Generator,
) -> tuple[int, int] | None:
    """Return a free top and left for an item, touching a box if one is given; None without any."""
    height, width = item.shape
    for _ in range(TRIES):
        top, left = (int(rng.integers(0, SIDE - side + 1)) for side in item.shape)
        if beside is not None:
            x0, y0, x1, y1 = beside
            near_top = int(rng.integers(y0 - height + 4, y1 - 3))
            near_left = int(rng.integers(x0 - width + 4, x1 - 3))
            places = (
                (near_top, x0 - width),
                (near_top, x1),
                (y0 - height, near_left),
                (y1, near_left),
            )
            top, left = places[int(rng.integers(4))]
            if not (0 <= top <= SIDE - height and 0 <= left <= SIDE - width):
                continue
        if not taken[top : top + height, left : left + width].any():
            return top, left
    return None


def _make_texture(rng: np.random.Generator) -> FloatArray:
    """Return a smooth random background with noise, in [0, `TEXTURE`]."""
    coarse = Image.fromarray(rng.random((8, 8)).astype(np.float32))
    smooth = np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float32)
    noisy = smooth + 0.25 * rng.standard_normal((SIDE, SIDE)).astype(np.float32)
    return np.clip(noisy, 0, 1).astype(np.float32) * np.float32(TEXTURE)


def _widen(mask: Mask) -> Mask:
    """Return masks `[n, 56, 56]` with a margin of one pixel."""
    padded = np.pad(mask, ((0, 0), (1, 1), (1, 1)))
    views = [padded[:, i : i + SIDE, j : j + SIDE] for i in range(3) for j in range(3)]
    return np.asarray(np.logical_or.reduce(views))
