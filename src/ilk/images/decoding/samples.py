"""Samples of more than 8 bits, and how they become 0 to 255.

Pillow reads 16-bit colour as 8 bits, the upper ones. The lower ones are read by decoding once more
with the two bytes of a sample exchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ilk.images.decoding.array_image import ArrayImage
from ilk.images.decoding.formats import AnyImage
from ilk.images.rows.refused import ImageError

ValueRange = tuple[float, float]
"""Stored values that become 0 and 255."""

DEEP_COLOUR = ";16"  # appended to Pillow's mode for colour of more than 8 bits
COLOUR_MODES = ("RGB", "RGBA", "RGBX")
BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339  # TIFF 6.0, section 8 and 19
WHITE_IS_ZERO = 0
WIDE_RANGE = (0.0, 65535.0)
WIDE_BITS = 16  # files of fewer bits per sample say what is white; those of 16 and more do not
STRIP_PIXELS = 2**22  # converted at a time: an image of 128 million pixels must not cost gigabytes


def is_deep(mode: str) -> bool:
    """Whether samples of a mode, as `get_mode` returns it, have more than 8 bits."""
    return mode.startswith("I") or mode == "F" or mode.endswith(DEEP_COLOUR)


def is_deep_colour(mode: str) -> bool:
    """Whether a mode is colour of 16 bits."""
    return mode.startswith(COLOUR_MODES) and mode.endswith(DEEP_COLOUR)


def get_mode(image: AnyImage | Image.Image) -> str:
    """Return Pillow's mode of an image, with ";16" appended if it is colour of 16 bits."""
    if isinstance(image, ArrayImage) or image.mode not in COLOUR_MODES:
        return image.mode
    raw_mode = _get_raw_mode(image)
    is_wide = ";16" in raw_mode and not raw_mode.startswith("RGBa")  # premultiplied
    return image.mode + DEEP_COLOUR if is_wide else image.mode


def get_stated_range(image: AnyImage | Image.Image) -> ValueRange | None:
    """Return the samples that the file says are black and white, None if it does not say."""
    if isinstance(image, ArrayImage):
        return image.stated_range
    bits = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (WIDE_BITS,))[0]
    if image.mode.startswith("I") and 8 < bits < WIDE_BITS:
        return 0.0, 2.0**bits - 1
    return None


def describe_scaling(image: Image.Image) -> tuple[object, ...]:
    """Return what `scale_samples` takes from an image beside its samples, as plain values."""
    return get_stated_range(image), _is_inverted(image), image.info.get("transparency")


def read_samples(
    image: AnyImage | Image.Image, reopen: Callable[[], AnyImage | Image.Image]
) -> NDArray[Any]:
    """Return the samples `[h, w]` or `[h, w, c]` of an image whose mode is deep.

    Args:
        image: The image, opened and not loaded.
        reopen: Opens it once more.
    """
    if isinstance(image, ArrayImage):
        return image.read()
    if is_deep_colour(get_mode(image)):
        return _read_colour(image, reopen())
    stored = np.asarray(image)
    tags: Any = getattr(image, "tag_v2", {})
    is_unsigned = tags.get(BITS_PER_SAMPLE) == (32,) and tags.get(SAMPLE_FORMAT, (1,)) == (1,)
    # Pillow has no unsigned form of 32 bits
    return stored.view(np.uint32) if image.mode == "I" and is_unsigned else stored


def find_extremes(stored: NDArray[Any]) -> ValueRange:
    """Return the least and the greatest finite value of samples `[h, w]` or `[h, w, c]`.

    Raises:
        ImageError: No sample is finite.
    """
    extremes: list[float] = []
    for top, bottom in iter_strips(*stored.shape[:2]):
        strip = stored[top:bottom]
        finite = strip if strip.dtype.kind != "f" else strip[np.isfinite(strip)]
        extremes += [float(finite.min()), float(finite.max())] if finite.size else []
    if not extremes:
        raise ImageError("unreadable", "no pixel is a finite number")
    return min(extremes), max(extremes)


def find_default_range(stored: NDArray[Any]) -> ValueRange:
    """Return the value range of samples `[h, w]` or `[h, w, c]` whose source has none.

    Integers are from 0 to 65535 and floats from 0 to 1 if all of them are; otherwise the least and
    the greatest value count.
    """
    low, high = find_extremes(stored)
    white = 1.0 if stored.dtype.kind == "f" else 65535.0
    if low >= 0 and high <= white:
        return 0.0, white
    return low, float(max(high, np.nextafter(low, np.inf)))


def scale_samples(
    stored: NDArray[Any], value_range: ValueRange, image: AnyImage | Image.Image
) -> NDArray[np.uint8]:
    """Return samples `[h, w]` or `[h, w, c]` as 0 to 255; values out of range are clipped.

    Fractions are rounded; what is not finite is black, what the file declares transparent white.
    """
    scaled = np.empty(stored.shape, np.uint8)
    for top, bottom in iter_strips(*stored.shape[:2]):
        scaled[top:bottom] = _scale_strip(stored[top:bottom], *value_range, image)
    return scaled


def iter_strips(height: int, width: int) -> Iterator[tuple[int, int]]:
    """Yield first and last row (exclusive) of strips that are small in memory."""
    step = max(1, STRIP_PIXELS // max(width, 1))
    for top in range(0, height, step):
        yield top, min(top + step, height)


def _scale_strip(
    strip: NDArray[Any], low: float, high: float, image: AnyImage | Image.Image
) -> NDArray[np.uint8]:
    finite = np.isfinite(strip)
    values = np.where(finite, strip, low).astype(np.float64)
    grey = np.rint(np.clip((values - low) * (255 / (high - low)), 0, 255)).astype(np.uint8)
    if _is_inverted(image):
        grey = 255 - grey
    grey[~finite] = 0
    key = None if isinstance(image, ArrayImage) else image.info.get("transparency")
    if key is not None and not isinstance(key, bytes):
        is_key = strip == np.asarray(key)
        grey[is_key if strip.ndim == 2 else is_key.all(-1)] = 255
    return grey


def _is_inverted(image: AnyImage | Image.Image) -> bool:
    if isinstance(image, ArrayImage):
        return image.is_inverted
    return bool(getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == WHITE_IS_ZERO)


def _get_raw_mode(image: Image.Image) -> str:
    """Return how Pillow is going to unpack the samples, "" if it does not say."""
    tiles: Any = getattr(image, "tile", None)
    if not tiles:
        return ""
    args = tiles[0][3]
    raw_mode = args[0] if isinstance(args, tuple) and args else args
    return raw_mode if isinstance(raw_mode, str) else ""


def _read_colour(image: Image.Image, again: AnyImage | Image.Image) -> NDArray[Any]:
    """Return the samples `[h, w, c]` of 16-bit colour; two of transparent grey become four."""
    raw_mode = _get_raw_mode(image)
    if raw_mode == "LA;16B":  # its two samples are read as the four bytes of a pixel
        _set_raw_mode(image, "RGBA")
        four = np.asarray(image)
        grey = four[..., 0].astype(np.uint16) << 8 | four[..., 1]
        alpha = four[..., 2].astype(np.uint16) << 8 | four[..., 3]
        return np.stack([grey, grey, grey, alpha], -1)
    if isinstance(again, ArrayImage):
        raise TypeError("a Pillow image is opened twice")
    swapped = "B" if raw_mode[-1] in "LN" else "L"  # N, of this machine, is taken for L
    _set_raw_mode(again, raw_mode[:-1] + swapped)
    upper, lower = np.asarray(image), np.asarray(again)
    samples = np.empty(upper.shape, np.uint16)
    for top, bottom in iter_strips(*upper.shape[:2]):
        samples[top:bottom] = upper[top:bottom].astype(np.uint16) << 8 | lower[top:bottom]
    return samples


def _set_raw_mode(image: Any, raw_mode: str) -> None:
    tiles = []
    for tile in image.tile:
        args = tile[3]
        new = (raw_mode, *args[1:]) if isinstance(args, tuple) else raw_mode
        tiles.append(tile._replace(args=new) if hasattr(tile, "_replace") else (*tile[:3], new))
    image.tile = tiles
