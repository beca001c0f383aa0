"""Pixels as features: the image resized to a fixed size. No weights; a strong baseline for glyphs.

A row is the image resized to `h x w`, by default without keeping its aspect ratio, grey or RGB,
divided by 255.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ilk.core.capabilities import ResizeMode
from ilk.core.data import Features
from ilk.core.errors import InputError
from ilk.core.fingerprint import compute_key
from ilk.core.space import FeatureSpace
from ilk.images.framing import resize_image

if TYPE_CHECKING:
    from ilk.images import Row

GREY_MODES = {"1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"}
MAX_AUTO_SIDE = 32  # limit of `from_rows`; a name may give more
MAX_SIDE = 256


@dataclass(frozen=True)
class PixelEncoder:
    """Pixels as features, `h * w * channels` of them in [0, 1]."""

    height: int = 16
    width: int = 16
    channels: int = 3
    resize: ResizeMode = "squash"
    batch_size = 16

    @classmethod
    def parse(cls, text: str) -> PixelEncoder:
        """Parse a size such as `8x8x1`: height, width, and 1 (grey) or 3 (RGB) channels.

        Raises:
            InputError: It is not a valid size.
        """
        match = re.fullmatch(r"(\d{1,3})x(\d{1,3})x([13])", text)
        sides = [int(n) for n in match.groups()] if match else [0]
        if not match or not all(1 <= n <= MAX_SIDE for n in sides):
            raise InputError(
                f"pixels/{text} is not a valid size; write pixels/HEIGHTxWIDTHxCHANNELS, such as "
                f"pixels/8x8x1, sides up to {MAX_SIDE}, 1 channel (grey) or 3"
            )
        return cls(sides[0], sides[1], sides[2])

    @classmethod
    def from_rows(cls, rows: Sequence[Row]) -> PixelEncoder:
        """Use the median short side of the images, up to 32; grey if all of them are."""
        known = [row for row in rows if row.width and row.height]
        sides = np.array([min(row.width, row.height) for row in known])
        return cls.from_sizes(sides, all(row.mode in GREY_MODES for row in known))

    @classmethod
    def from_sizes(cls, sides: NDArray[np.integer], is_grey: bool) -> PixelEncoder:
        """As `from_rows`, of the short sides `[n]` of images, and whether all are grey."""
        if not len(sides):
            return cls()
        side = max(1, min(MAX_AUTO_SIDE, int(np.median(sides))))
        return cls(side, side, 1 if is_grey else 3)

    @property
    def name(self) -> str:
        setting = "" if self.resize == "squash" else f"@resize={self.resize}"
        return f"pixels/{self.height}x{self.width}x{self.channels}{setting}"

    def with_resize(self, mode: ResizeMode) -> PixelEncoder:
        """Return the encoder with images of other shapes resized in another way."""
        return replace(self, resize=mode)

    @property
    def space(self) -> FeatureSpace:
        dim = self.height * self.width * self.channels
        return FeatureSpace(compute_key({"family": "pixels", "shape": self.name}), self.name, dim)

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "key": self.space.key, "precision": "float32"}

    def load(self) -> None:
        """Do nothing: there are no weights."""

    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        """Resize an image to pixels `[c, h, w]` uint8."""
        size, kind = (self.width, self.height), Image.Resampling.BILINEAR
        if self.channels == 1 and self.resize == "squash":
            image = image.convert("L")
        image = resize_image(image, size, self.resize, kind)
        if self.channels == 1:
            image = image.convert("L")
        shape = (self.height, self.width, self.channels)
        return np.asarray(image).reshape(shape).transpose(2, 0, 1)

    def embed(self, batch: NDArray[np.uint8]) -> Features:
        """Flatten pixels `[b, c, h, w]` to features `[b, d]` in [0, 1]."""
        return batch.reshape(len(batch), -1).astype(np.float32) / np.float32(255)
