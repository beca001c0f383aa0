"""Where the pixels of a prepared image lie on the picture that is shown.

Most encoders take one picture, so the prepared image is the picture. One that takes several views,
or a combination of encoders, takes many crops of different sizes; there the picture is the whole
image, and the place of each prepared value is found by preparing images whose brightness is their
own coordinate. So nothing needs to be known of how an encoder crops, pads or mirrors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ilk.core.capabilities import Embeds

MAX_SIDE = 224  # pixels of the picture of an encoder that takes several crops
MAX_RAMP_SIDE = 1024  # pixels of the images that show where prepared values lie


@dataclass(frozen=True, eq=False)
class Geometry:
    """A picture, and where each prepared value takes its colour from.

    Attributes:
        picture: RGB, `[h, w, 3]` uint8.
        places: Index of the pixel of the picture for each value of the prepared image, flat;
            -1 for padding. None if the prepared image is the picture.
    """

    picture: NDArray[np.uint8]
    places: NDArray[np.int64] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the picture, and of every map of it."""
        return self.picture.shape[0], self.picture.shape[1]

    def expand(self, masks: NDArray[np.floating], shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return masks `[n, h, w]` as one value per value of prepared images, `[n, *shape]`.

        Padding is never masked: it gets 1.
        """
        masks = np.asarray(masks, np.float32)
        if self.places is None:
            return np.broadcast_to(masks[:, None], (len(masks), *shape))
        flat = masks.reshape(len(masks), -1)[:, np.maximum(self.places, 0)]
        flat[:, self.places < 0] = 1.0
        return flat.reshape(len(masks), *shape)

    def collect(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return values `[*shape]` of a prepared image as a map: their sum at each pixel."""
        height, width = self.shape
        if self.places is None:
            return np.asarray(values.sum(0), np.float32)
        kept = self.places >= 0
        sums = np.bincount(
            self.places[kept], values.ravel()[kept].astype(np.float64), minlength=height * width
        )
        return np.asarray(sums.reshape(height, width), np.float32)


def find_geometry(encoder: Embeds, image: Image.Image, prepared: NDArray[np.uint8]) -> Geometry:
    """Return the geometry of an RGB image and what was prepared of it, usually `[c, h, w]`."""
    if _is_picture(encoder, prepared):
        planes = prepared if len(prepared) == 3 else np.repeat(prepared[:1], 3, axis=0)
        return Geometry(np.ascontiguousarray(planes.transpose(1, 2, 0)))
    picture = image.copy()
    picture.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    ramp_size = _bound(image.size)
    x, y = (_prepare_ramp(encoder, ramp_size, axis) for axis in (0, 1))
    dark, light = (
        encoder.prepare(Image.new("RGB", ramp_size, (v, v, v))).ravel() for v in (0, 255)
    )
    columns = np.minimum((x * picture.width).astype(np.int64), picture.width - 1)
    rows = np.minimum((y * picture.height).astype(np.int64), picture.height - 1)
    places = np.where(dark == light, -1, rows * picture.width + columns)
    return Geometry(np.asarray(picture.convert("RGB")), places)


def _is_picture(encoder: Embeds, prepared: NDArray[np.uint8]) -> bool:
    has_one_crop = not hasattr(encoder, "n_views") and not hasattr(encoder, "parts")
    return has_one_crop and prepared.ndim == 3 and len(prepared) in (1, 3)


def _bound(size: tuple[int, int]) -> tuple[int, int]:
    """Return width and height with the same shape, bounded."""
    factor = min(1.0, MAX_RAMP_SIDE / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _prepare_ramp(encoder: Embeds, size: tuple[int, int], axis: int) -> NDArray[np.float64]:
    """Return the coordinate along an axis, from 0 to 1, of each prepared value, flat."""
    width, height = size
    line = (np.arange(size[axis]) + 0.5) / size[axis] * 255
    ramp = np.broadcast_to(line[None, :] if axis == 0 else line[:, None], (height, width))
    grey = Image.fromarray(np.round(ramp).astype(np.uint8))
    return np.asarray(encoder.prepare(grey.convert("RGB")).ravel() / 255.0)
