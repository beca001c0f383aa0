"""`hog`: histograms of oriented gradients. No weights, always there.

Dalal and Triggs 2005, "Histograms of oriented gradients for human detection", CVPR, section 6:
centred differences of the channel where they are largest, 9 unsigned orientations with votes of the
gradient's length shared between the two nearest, cells of 8 x 8 pixels, overlapping blocks of 2 x 2
cells, and Lowe's clipped norm (L2, clip at 0.2, L2 again) of each block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image

from ilk.data import Features
from ilk.encoders.address import key
from ilk.errors import InputError
from ilk.store import Space

BINS = 9
CELL = 8  # pixels
CLIP = 0.2
EPS = 1e-2  # of a block's norm, for gradients in units where white is 1


@dataclass(frozen=True)
class Hog:
    """Features of the picture squashed to `side x side`: 324 for a side of 32."""

    side: int = 32
    batch = 16

    @classmethod
    def read(cls, text: str) -> Hog:
        """What `32` asks for.

        Raises:
            InputError: It is no multiple of 8 from 16 to 256.
        """
        side = int(text) if text.isascii() and text.isdecimal() and len(text) < 4 else 0
        if not 2 * CELL <= side <= 256 or side % CELL:
            raise InputError(
                f"hog/{text} is no size; write hog/SIDE with a multiple of 8 from 16 to 256"
            )
        return cls(side)

    @property
    def name(self) -> str:
        return f"hog/{self.side}"

    @property
    def space(self) -> Space:
        return Space(
            key({"family": "hog", "side": self.side}),
            self.name,
            (self.side // CELL - 1) ** 2 * 4 * BINS,
        )

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "key": self.space.key, "precision": "float32"}

    def load(self) -> None:
        """Nothing to load."""

    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        image = image.resize((self.side, self.side), Image.Resampling.BICUBIC)
        return np.asarray(image).transpose(2, 0, 1)

    def embed(self, batch: NDArray[np.uint8]) -> Features:
        return blocks(cells(*gradients(batch), self.side // CELL))


def gradients(batch: NDArray[np.uint8]) -> tuple[Features, Features]:
    """Length and unsigned angle in [0, 1) half turns, `[b, h, w]`, of the steepest channel."""
    x = np.pad(batch.astype(np.float32) / 255, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    right = x[:, :, 1:-1, 2:] - x[:, :, 1:-1, :-2]
    down = x[:, :, 2:, 1:-1] - x[:, :, :-2, 1:-1]
    steepest = np.argmax(right**2 + down**2, 1, keepdims=True)
    right, down = (np.take_along_axis(v, steepest, 1)[:, 0] for v in (right, down))
    angle = np.arctan2(down, right) / np.float32(np.pi) % 1
    return np.hypot(right, down), np.asarray(angle, np.float32)


def cells(length: Features, angle: Features, across: int) -> Features:
    """Orientation histograms `[b, across, across, 9]`: each pixel votes for two bins."""
    b, h, w = length.shape
    place = angle * BINS - 0.5  # the centre of bin 0 lies half a bin from the zero angle
    low = np.floor(place)
    share = length * (place - low)
    y, x = (np.arange(n) * across // n for n in (h, w))
    at = (np.arange(b)[:, None, None] * across + y[:, None]) * across + x
    votes = np.zeros(b * across * across * BINS)
    for bins, weight in ((low, length - share), (low + 1, share)):
        index = at * BINS + bins.astype(np.int64) % BINS
        votes += np.bincount(index.ravel(), weight.ravel(), votes.size)
    return votes.reshape(b, across, across, BINS).astype(np.float32)


def blocks(histograms: Features) -> Features:
    """Overlapping blocks of 2 x 2 cells, each with Lowe's clipped norm, `[b, 36 * blocks]`."""
    v = sliding_window_view(histograms, (2, 2), (1, 2))  # [b, rows, columns, 9, 2, 2]
    v = v.reshape(*v.shape[:3], -1)
    for clip in (CLIP, np.inf):
        norm = np.sqrt((v**2).sum(-1, keepdims=True, dtype=np.float32) + EPS**2)
        v = np.minimum(v / norm, clip)
    return v.reshape(len(v), -1).astype(np.float32)
