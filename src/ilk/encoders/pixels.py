"""`pixels`: the picture itself, shrunk. No weights, always there, and a strong yardstick on glyphs.

A row is the picture squashed to `h x w`, as grey or RGB, divided by 255.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ilk.data import Features
from ilk.encoders.address import key
from ilk.errors import InputError
from ilk.store import Space

if TYPE_CHECKING:
    from ilk.images import Row

GREY = {"1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"}
LARGEST = 32  # of the sides that are chosen; a name may ask for more
LIMIT = 256


@dataclass(frozen=True)
class Pixels:
    """Pixels as features, `h * w * channels` of them in [0, 1]."""

    height: int = 16
    width: int = 16
    channels: int = 3
    batch = 16

    @classmethod
    def read(cls, text: str) -> Pixels:
        """What `8x8x1` asks for: height, width, and 1 (grey) or 3 (RGB).

        Raises:
            InputError: It is no such size.
        """
        found = re.fullmatch(r"(\d{1,3})x(\d{1,3})x([13])", text)
        sides = [int(n) for n in found.groups()] if found else [0]
        if not found or not all(1 <= n <= LIMIT for n in sides):
            raise InputError(
                f"pixels/{text} is no size; write pixels/HEIGHTxWIDTHxCHANNELS, such as "
                f"pixels/8x8x1, sides up to {LIMIT}, 1 channel (grey) or 3"
            )
        return cls(*sides)

    @classmethod
    def fitting(cls, rows: Sequence[Row]) -> Pixels:
        """As large as the median picture's short side, up to 32; grey where all of them are."""
        known = [row for row in rows if row.width and row.height]
        if not known:
            return cls()
        side = int(np.median([min(row.width, row.height) for row in known]))
        side = max(1, min(LARGEST, side))
        return cls(side, side, 1 if all(row.mode in GREY for row in known) else 3)

    @property
    def name(self) -> str:
        return f"pixels/{self.height}x{self.width}x{self.channels}"

    @property
    def space(self) -> Space:
        dim = self.height * self.width * self.channels
        return Space(key({"family": "pixels", "shape": self.name}), self.name, dim)

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "key": self.space.key, "precision": "float32"}

    def load(self) -> None:
        """Nothing to load."""

    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        if self.channels == 1:
            image = image.convert("L")
        if image.size != (self.width, self.height):
            image = image.resize((self.width, self.height), Image.Resampling.BILINEAR)
        shape = (self.height, self.width, self.channels)
        return np.asarray(image).reshape(shape).transpose(2, 0, 1)

    def embed(self, batch: NDArray[np.uint8]) -> Features:
        return batch.reshape(len(batch), -1).astype(np.float32) / np.float32(255)
