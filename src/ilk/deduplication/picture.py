"""A picture, reduced, with what comparing it with others needs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ilk.deduplication.details import (
    NO_DETAIL,
    Grey,
    integrate,
    remove_surroundings,
    sum_windows,
)

FINE_SIDE, COARSE_SIDE = 96, 32  # pixels of a square with a reduced picture's area
MAX_ASPECT = 4.0  # of the sides; a longer picture is squeezed
RADIUS = 0.09  # of the surroundings whose mean is taken off, as a share of the side
DETAIL_PIXELS, FINEST_PIXELS = round(RADIUS * FINE_SIDE), 3
MIN_SHARE = 0.12  # of a picture's area that a part must have
STEP = 0.9  # between successive sizes
TURNS = (0.0, -9.0, -4.5, 4.5, 9.0)  # degrees
TURNED_PART = STEP**2  # of the sides of a turned picture, which its corners leave free
SHAPE_STEP = 0.04  # in the logarithm of the ratio of two aspects
N_PARTS = 6  # shapes of parts that are remembered per picture


@dataclass(frozen=True)
class Placing:
    """How a part lies on a whole: how large and where, as shares of the whole's sides."""

    is_mirrored: bool
    turn: float
    height: float
    width: float
    top: float = 0.0
    left: float = 0.0


@dataclass(frozen=True, eq=False)
class Parts:
    """A picture in every size and turn, as parts of pictures of one shape."""

    placings: tuple[Placing, ...]
    size: NDArray[np.int64]  # [p], position among `list_sizes`
    spectrum: NDArray[Any]  # [p, COARSE_SIDE, COARSE_SIDE // 2 + 1], conjugate, of unit norm


class Picture:
    """A reduced picture, with what comparing it needs, computed once."""

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        """Take a picture `[h, w]` as `reduce_picture` returns it."""
        self.pixels = pixels
        self.image = Image.fromarray(pixels)
        self._turned = {0.0: self.image}
        self._parts: dict[int, Parts] = {}
        self._openings: dict[int, Grey] = {}

    @property
    def aspect(self) -> float:
        """Width / height."""
        return self.image.width / self.image.height

    @cached_property
    def is_blank(self) -> bool:
        """Whether there is hardly any detail to compare."""
        return float(np.asarray(self.layers[0]).std()) <= NO_DETAIL

    @cached_property
    def layers(self) -> tuple[Image.Image, Image.Image, Image.Image, Image.Image]:
        """Details at the fine resolution, their slopes to the right and down, finest details."""
        pixels = np.asarray(self.image, np.float32)
        details = remove_surroundings(pixels, DETAIL_PIXELS)
        down, right = np.gradient(details)
        finest = remove_surroundings(pixels, FINEST_PIXELS)
        first, second, third, fourth = map(Image.fromarray, (details, right, down, finest))
        return first, second, third, fourth

    @cached_property
    def _coarse(self) -> Grey:
        small = self.image.resize((COARSE_SIDE, COARSE_SIDE), Image.Resampling.BILINEAR)
        return remove_surroundings(np.asarray(small, np.float32), round(RADIUS * COARSE_SIDE))

    @cached_property
    def spectrum(self) -> NDArray[Any]:
        """The Fourier transform of the coarse details, `[COARSE_SIDE, COARSE_SIDE // 2 + 1]`."""
        from scipy.fft import rfft2

        return np.asarray(rfft2(self._coarse))

    def get_openings(self, shape: int) -> Grey:
        """Return 1 / norm of the window at each place for parts of each size, 0 where none fits.

        `[number of sizes, COARSE_SIDE, COARSE_SIDE]`.
        """
        if shape not in self._openings:
            sums, squares = integrate(self._coarse), integrate(self._coarse**2)
            sizes = [to_pixels(size, COARSE_SIDE, COARSE_SIDE) for size in list_sizes(shape)]
            out = np.zeros((len(sizes), COARSE_SIDE, COARSE_SIDE), np.float32)
            for i, (h, w) in enumerate(sizes):
                energy = sum_windows(squares, h, w) - sum_windows(sums, h, w) ** 2 / (h * w)
                inverse = 1 / np.sqrt(np.maximum(energy, NO_DETAIL**2 * h * w))
                out[i, : inverse.shape[0], : inverse.shape[1]] = inverse
            _remember(self._openings, shape, out)
        return self._openings[shape]

    def get_parts(self, shape: int) -> Parts:
        """Return the picture in every size and turn, for wholes whose shape differs by `shape`."""
        if shape not in self._parts:
            _remember(self._parts, shape, self._make_parts(shape))
        return self._parts[shape]

    def _make_parts(self, shape: int) -> Parts:
        from scipy.fft import rfft2

        placings, sizes = [], []
        for i, (height, width) in enumerate(list_sizes(shape)):
            for turn in TURNS:
                fits = i > 0 and max(height, width) <= TURNED_PART + 1e-9
                if turn and not fits:
                    continue
                placings += [Placing(m, turn, height, width) for m in (False, True)]
                sizes += [i, i]
        stack = np.zeros((len(placings), COARSE_SIDE, COARSE_SIDE), np.float32)
        for i, placing in enumerate(placings[::2]):
            own = self.draw(placing, COARSE_SIDE, COARSE_SIDE)
            own = remove_surroundings(own, round(RADIUS * COARSE_SIDE))
            own -= own.mean()
            norm = np.sqrt((own**2).sum())
            if norm > NO_DETAIL * own.size**0.5:
                stack[2 * i, : own.shape[0], : own.shape[1]] = own / norm
                stack[2 * i + 1, : own.shape[0], : own.shape[1]] = own[:, ::-1] / norm
        return Parts(tuple(placings), np.array(sizes), np.conj(rfft2(stack)))

    def draw(self, placing: Placing, height: int, width: int) -> Grey:
        """Return the pixels of the picture, not mirrored, as a part of `height` × `width`."""
        h, w = to_pixels((placing.height, placing.width), height, width)
        image, box = self._turn(placing.turn), None
        if placing.turn:
            x, y = (side * (1 - TURNED_PART) / 2 for side in image.size)
            box = (x, y, image.width - x, image.height - y)
        small = image.resize((w, h), Image.Resampling.BILINEAR, box=box)
        return np.asarray(small, np.float32)

    def _turn(self, degrees: float) -> Image.Image:
        """Return the picture turned; it is drawn in many sizes, and turned once."""
        if degrees not in self._turned:
            self._turned[degrees] = self.image.rotate(degrees, Image.Resampling.BILINEAR)
        return self._turned[degrees]


def _remember(memory: dict[int, Any], key: int, value: Any) -> None:
    if len(memory) >= N_PARTS:
        memory.pop(next(iter(memory)))
    memory[key] = value


def reduce_picture(image: Image.Image) -> NDArray[np.uint8]:
    """Return a picture in grey with the area of a square of `FINE_SIDE` pixels, `[h, w]`."""
    width, height = image.size
    aspect = float(np.clip(width / max(height, 1), 1 / MAX_ASPECT, MAX_ASPECT))
    size = (round(FINE_SIDE * aspect**0.5), round(FINE_SIDE / aspect**0.5))
    small = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(small.convert("L"), np.uint8)


@lru_cache(maxsize=256)
def list_sizes(shape: int) -> tuple[tuple[float, float], ...]:
    """Return heights and widths of a part, as shares of those of the whole, largest first.

    The first fills the whole, whatever its shape; the others keep the shape of the part.

    Args:
        shape: Logarithm of the part's aspect over the whole's, in `SHAPE_STEP`.
    """
    ratio = float(np.exp(shape * SHAPE_STEP))
    height, width = min(1.0, 1 / ratio), min(1.0, ratio)
    sizes = [(1.0, 1.0)]
    scale = STEP if shape == 0 else 1.0
    while scale**2 * height * width >= MIN_SHARE:
        sizes.append((scale * height, scale * width))
        scale *= STEP
    return tuple(sizes)


def to_pixels(size: tuple[float, float], height: int, width: int) -> tuple[int, int]:
    """Return shares of the sides as pixels."""
    return (
        min(height, max(4, round(size[0] * height))),
        min(width, max(4, round(size[1] * width))),
    )
