"""`hog`: histograms of oriented gradients. Needs no weights.

Dalal and Triggs 2005, "Histograms of oriented gradients for human detection", CVPR, section 6:
centred differences of the channel with the largest gradient, 9 unsigned orientations with votes of
the gradient's length shared between the two nearest, cells of 8 x 8 pixels, overlapping blocks of 2
x 2 cells, and Lowe's clipped norm (L2, clip at 0.2, L2 again) of each block.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image

from ilk.core.capabilities import ResizeMode
from ilk.core.data import Features
from ilk.core.errors import InputError
from ilk.core.fingerprint import compute_key
from ilk.core.space import FeatureSpace
from ilk.encoders.options import EncoderOptions
from ilk.images.framing import resize_image

FORM = "hog"
PRETRAINED = False
DEFAULT = "hog"
COST = 1

N_BINS = 9
CELL_SIZE = 8  # pixels
NORM_CLIP = 0.2
NORM_EPS = 1e-2  # of a block's norm, for gradients in units where white is 1


@dataclass(frozen=True)
class HogEncoder:
    """Features of the image resized to `side x side`: 324 for a side of 32."""

    side: int = 32
    resize: ResizeMode = "squash"
    batch_size = 16

    @classmethod
    def parse(cls, text: str) -> HogEncoder:
        """Parse a side such as `32`.

        Raises:
            InputError: It is not a multiple of 8 from 16 to 256.
        """
        side = int(text) if text.isascii() and text.isdecimal() and len(text) < 4 else 0
        if not 2 * CELL_SIZE <= side <= 256 or side % CELL_SIZE:
            raise InputError(
                f"hog/{text} is not a valid size; write hog/SIDE, a multiple of 8 from 16 to 256"
            )
        return cls(side)

    @property
    def name(self) -> str:
        setting = "" if self.resize == "squash" else f"@resize={self.resize}"
        return f"hog/{self.side}{setting}"

    @property
    def space(self) -> FeatureSpace:
        setting = {} if self.resize == "squash" else {"resize": self.resize}
        return FeatureSpace(
            compute_key({"family": "hog", "side": self.side, **setting}),
            self.name,
            (self.side // CELL_SIZE - 1) ** 2 * 4 * N_BINS,
        )

    def with_resize(self, mode: ResizeMode) -> HogEncoder:
        """Return the encoder with images of other shapes resized in another way."""
        return replace(self, resize=mode)

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "key": self.space.key, "precision": "float32"}

    def load(self) -> None:
        """Do nothing: there are no weights."""

    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        """Preprocess an RGB image to `[c, h, w]` uint8."""
        size = (self.side, self.side)
        image = resize_image(image, size, self.resize, Image.Resampling.BICUBIC)
        return np.asarray(image).transpose(2, 0, 1)

    def embed(self, batch: NDArray[np.uint8]) -> Features:
        """Return features `[b, d]` of prepared images `[b, c, h, w]`."""
        return normalize_blocks(
            compute_histograms(*compute_gradients(batch), self.side // CELL_SIZE)
        )


def compute_gradients(batch: NDArray[np.uint8]) -> tuple[Features, Features]:
    """Return length and unsigned angle, in half turns in [0, 1), of the gradients, `[b, h, w]`."""
    x = np.pad(batch.astype(np.float32) / 255, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    right = x[:, :, 1:-1, 2:] - x[:, :, 1:-1, :-2]
    down = x[:, :, 2:, 1:-1] - x[:, :, :-2, 1:-1]
    steepest = np.argmax(right**2 + down**2, 1, keepdims=True)
    right, down = (np.take_along_axis(v, steepest, 1)[:, 0] for v in (right, down))
    angle = np.arctan2(down, right) / np.float32(np.pi) % 1
    return np.hypot(right, down), np.asarray(angle, np.float32)


def compute_histograms(length: Features, angle: Features, across: int) -> Features:
    """Return orientation histograms `[b, across, across, 9]`; each pixel votes for two bins."""
    b, h, w = length.shape
    position = angle * N_BINS - 0.5  # the centre of bin 0 lies half a bin from the zero angle
    low = np.floor(position)
    upper = length * (position - low)
    y, x = (np.arange(n) * across // n for n in (h, w))
    cell = (np.arange(b)[:, None, None] * across + y[:, None]) * across + x
    votes = np.zeros(b * across * across * N_BINS)
    for bins, weight in ((low, length - upper), (low + 1, upper)):
        index = cell * N_BINS + bins.astype(np.int64) % N_BINS
        votes += np.bincount(index.ravel(), weight.ravel(), votes.size)
    return votes.reshape(b, across, across, N_BINS).astype(np.float32)


def normalize_blocks(histograms: Features) -> Features:
    """Normalize overlapping blocks of 2 x 2 cells by Lowe's clipped norm, `[b, 36 * blocks]`."""
    v = sliding_window_view(histograms, (2, 2), (1, 2))  # [b, rows, columns, 9, 2, 2]
    v = v.reshape(*v.shape[:3], -1)
    for clip in (NORM_CLIP, np.inf):
        norm = np.sqrt((v**2).sum(-1, keepdims=True, dtype=np.float32) + NORM_EPS**2)
        v = np.minimum(v / norm, clip)
    return v.reshape(len(v), -1).astype(np.float32)


def open_encoder(name: str, options: EncoderOptions) -> HogEncoder:
    """Open `hog` or `hog/SIDE`.

    Raises:
        InputError: The side cannot be read.
    """
    _, _, side = name.partition("/")
    return HogEncoder.parse(side) if side else HogEncoder()
