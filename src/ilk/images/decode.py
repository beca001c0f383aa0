"""Decode a file to 8-bit RGB pixels, upright, whatever its stored format.

- **Grey of more than 8 bits** is scaled, never clipped. 16 bits: by 255/65535, the range of
  the file, so that a dark image stays dark (12-bit TIFF: by 255/4095). Floats and 32-bit integers
  do not state their white level: it is 1 for floats and 65535 for integers if every pixel lies
  between 0 and that; otherwise the image's own minimum and maximum become 0 and 255. Fractions are
  rounded; a pixel that is not finite is black.
- **16-bit colour** keeps its upper 8 bits, as in Pillow.
- **Transparency** (alpha, a palette's or a colour key) is composited on white.
- **EXIF orientation** is applied; colour profiles are not.
- Of several frames or pages, the first is used.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from ilk.images import jpeg
from ilk.images.files import open_file
from ilk.images.formats import (
    MAX_PIXELS,
    check_size,
    mute_pillow_warnings,
    read_header,
    to_image_error,
)
from ilk.images.refused import ImageError
from ilk.images.rows import Content
from ilk.images.truncation import check_png, is_truncated

__all__ = ["MAX_PIXELS", "ImageError", "decode", "decode_thumbnail"]

ORIENTATION = 0x0112
TRANSPOSE = Image.Transpose
BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339  # TIFF 6.0, section 8 and 19
WHITE_IS_ZERO = 0
STRIP_PIXELS = 2**22  # converted at a time: an image of 128 million pixels must not cost gigabytes
UNDO_ORIENTATION = {  # EXIF 2.3, table 6: what undoes each orientation
    2: TRANSPOSE.FLIP_LEFT_RIGHT,
    3: TRANSPOSE.ROTATE_180,
    4: TRANSPOSE.FLIP_TOP_BOTTOM,
    5: TRANSPOSE.TRANSPOSE,
    6: TRANSPOSE.ROTATE_270,
    7: TRANSPOSE.TRANSVERSE,
    8: TRANSPOSE.ROTATE_90,
}


def decode(file: str | os.PathLike[str] | Content, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Return the image in `file` in mode RGB, 8 bits, upright.

    Args:
        file: A path, the bytes of a file, or pixels: a Pillow image of any mode, or an array
            `[h, w]` (grey) or `[h, w, c]` (`c` is 1, 3 or 4) of type uint8.
        max_pixels: Width × height above which an image is refused without decoding.

    Raises:
        ImageError: It cannot be decoded in full; the reason says why. Partial or blank images are
            never returned.
    """
    if isinstance(file, Image.Image | np.ndarray):
        return _convert_pixels(file, max_pixels)
    with open_file(file) as (source, _size), mute_pillow_warnings():
        image = read_header(source, max_pixels)
        try:
            if image.format == "PNG":
                check_png(source)
            if image.format == "JPEG" and image.mode in jpeg.MODES:
                source.seek(0)
                return _apply_orientation(image, jpeg.decode_jpeg(source.read()))
            image.load()
            # Some programs switch this on for the whole process; then Pillow fills with grey.
            if ImageFile.LOAD_TRUNCATED_IMAGES and is_truncated(source):
                raise ImageError("truncated", "Pillow is configured to fill the rest with grey")
            return _apply_orientation(image, _to_rgb(image))
        except Exception as error:
            raise to_image_error(source, error) from error


def decode_thumbnail(
    file: str | os.PathLike[str] | Content, side: int, max_pixels: int = MAX_PIXELS
) -> Image.Image:
    """Decode and shrink to fit a square of `side` pixels; smaller images are not enlarged.

    Args:
        file: A path, the bytes of a file, or pixels `[h, w]` or `[h, w, c]`, as for `decode`.
        side: Side of the square in pixels.
        max_pixels: As for `decode`.
    """
    image = decode(file, max_pixels)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return image


def _convert_pixels(pixels: Image.Image | NDArray[np.uint8], max_pixels: int) -> Image.Image:
    """Return a new image in mode RGB, upright, of an image that is in memory."""
    height, width = pixels.shape[:2] if isinstance(pixels, np.ndarray) else pixels.size[::-1]
    check_size(width, height, max_pixels)
    if isinstance(pixels, np.ndarray):
        pixels = Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels)
    try:
        with mute_pillow_warnings():
            pixels.load()
            rgb = _apply_orientation(pixels, _to_rgb(pixels))
            return rgb.copy() if rgb is pixels else rgb
    except Exception as error:
        raise to_image_error(None, error) from error


def _apply_orientation(image: Image.Image, pixels: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; one that is unreadable or not 1 to 8 is ignored."""
    try:
        transpose = UNDO_ORIENTATION.get(image.getexif().get(ORIENTATION, 1))
    except Exception:
        return pixels
    return pixels if transpose is None else pixels.transpose(transpose)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_to_grey(image)).convert("RGB")
    if image.has_transparency_data:
        return _composite_on_white(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _composite_on_white(image: Image.Image) -> Image.Image:
    result = Image.new("RGB", image.size)
    for top, bottom in _iter_strips(image.height, image.width):
        strip = image.crop((0, top, image.width, bottom)).convert("RGBA")
        white = Image.new("RGBA", strip.size, "white")
        result.paste(Image.alpha_composite(white, strip).convert("RGB"), (0, top))
    return result


def _iter_strips(height: int, width: int) -> Iterator[tuple[int, int]]:
    """Yield first and last row (exclusive) of strips that are small in memory."""
    step = max(1, STRIP_PIXELS // max(width, 1))
    for top in range(0, height, step):
        yield top, min(top + step, height)


def _to_grey(image: Image.Image) -> NDArray[np.uint8]:
    """Scale pixels `[h, w]` of more than 8 bits to 0-255, as described above."""
    tags: Any = getattr(image, "tag_v2", {})
    stored = np.asarray(image)
    if (
        image.mode == "I"
        and tags.get(BITS_PER_SAMPLE) == (32,)
        and tags.get(SAMPLE_FORMAT, (1,)) == (1,)
    ):
        stored = stored.view(np.uint32)  # Pillow has no unsigned form of 32 bits
    low, high = _find_value_range(image.mode, tags, *_find_extremes(stored))
    grey = np.empty(stored.shape, np.uint8)
    for top, bottom in _iter_strips(*stored.shape):
        grey[top:bottom] = _scale_strip(stored[top:bottom], low, high, image, tags)
    return grey


def _find_extremes(stored: NDArray[Any]) -> tuple[float, float]:
    """Return the least and the largest finite value of pixels `[h, w]`."""
    extremes: list[float] = []
    for top, bottom in _iter_strips(*stored.shape):
        strip = stored[top:bottom]
        finite = strip if strip.dtype.kind != "f" else strip[np.isfinite(strip)]
        extremes += [float(finite.min()), float(finite.max())] if finite.size else []
    if not extremes:
        raise ImageError("unreadable", "no pixel is a finite number")
    return min(extremes), max(extremes)


def _scale_strip(
    strip: NDArray[Any], low: float, high: float, image: Image.Image, tags: Any
) -> NDArray[np.uint8]:
    finite = np.isfinite(strip)
    values = np.where(finite, strip, low).astype(np.float64)
    grey = np.rint((values - low) * (255 / (high - low))).astype(np.uint8)
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        grey = 255 - grey
    grey[~finite] = 0
    if (key := image.info.get("transparency")) is not None:
        grey[strip == key] = 255
    return grey


def _find_value_range(mode: str, tags: Any, low: float, high: float) -> tuple[float, float]:
    """Return the stored values that map to 0 and 255, given the least and the largest."""
    bits = tags.get(BITS_PER_SAMPLE, (16,))[0]
    white = 1.0 if mode == "F" else 2.0 ** (bits if bits < 16 else 16) - 1
    if low >= 0 and high <= white:
        return 0.0, white
    return low, max(high, np.nextafter(low, np.inf))
