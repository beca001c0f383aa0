"""Decode a file to 8-bit RGB pixels, upright, whatever its stored format.

- **More than 8 bits**, grey or colour, are scaled to 0-255 from a value range: the stored values
  that are black and white. What a file states counts first (12-bit TIFF: 0 to 4095; a PGM's largest
  sample; a DICOM window). A file of 16 or 32 bits, or of floats, states nothing; the range is then
  that of its source (see `ilk.images.value_ranges.value_range`), so that a darker image of a folder
  stays darker, and values out of it are clipped. An image on its own, without a range, is read as 0
  to 65535, floats as 0 to 1, unless it holds a value outside; then its own least and greatest value
  become 0 and 255. Fractions are rounded; a pixel that is not finite is black.
- **Transparency** (alpha, a palette's or a colour key) is composited on white.
- **EXIF orientation** is applied; colour profiles are not.
- Of several frames or pages, the first is used unless another is asked for; a reduced version of
  the image, as TIFF files may begin with, is not a page.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from ilk.images.decoding import jpeg
from ilk.images.decoding.array_image import ArrayImage
from ilk.images.decoding.formats import (
    MAX_PIXELS,
    AnyImage,
    check_size,
    mute_pillow_warnings,
    read_header,
    to_image_error,
)
from ilk.images.decoding.open_file import open_file
from ilk.images.decoding.samples import (
    WIDE_RANGE,
    ValueRange,
    find_default_range,
    find_extremes,
    get_mode,
    get_stated_range,
    is_deep,
    is_deep_colour,
    iter_strips,
    read_samples,
    scale_samples,
)
from ilk.images.decoding.truncation import check_png, is_truncated
from ilk.images.decoding.webp_zeros import check_webp
from ilk.images.rows import Content
from ilk.images.rows.refused import ImageError

__all__ = ["MAX_PIXELS", "ImageError", "decode", "decode_thumbnail"]

CHECKS: dict[str | None, Callable[[BinaryIO], None]] = {"PNG": check_png, "WEBP": check_webp}
ORIENTATION = 0x0112
TRANSPOSE = Image.Transpose
UNDO_ORIENTATION = {  # EXIF 2.3, table 6: what undoes each orientation
    2: TRANSPOSE.FLIP_LEFT_RIGHT,
    3: TRANSPOSE.ROTATE_180,
    4: TRANSPOSE.FLIP_TOP_BOTTOM,
    5: TRANSPOSE.TRANSPOSE,
    6: TRANSPOSE.ROTATE_270,
    7: TRANSPOSE.TRANSVERSE,
    8: TRANSPOSE.ROTATE_90,
}


def decode(
    file: str | os.PathLike[str] | Content,
    max_pixels: int = MAX_PIXELS,
    *,
    page: int = 0,
    value_range: ValueRange | None = None,
) -> Image.Image:
    """Return the image in `file` in mode RGB, 8 bits, upright.

    Args:
        file: A path, the bytes of a file, or pixels: a Pillow image of any mode, or an array
            `[h, w]` (grey) or `[h, w, c]` (`c` is 1, 3 or 4) of type uint8.
        max_pixels: Width × height above which an image is refused without decoding.
        page: Page or frame of the file, counted from 1; 0 is the image that it stands for.
        value_range: Stored values that become 0 and 255, for an image of more than 8 bits.

    Raises:
        ImageError: It cannot be decoded in full; the reason says why. Partial or blank images are
            never returned.
    """
    if isinstance(file, Image.Image | np.ndarray):
        return _convert_pixels(file, max_pixels, value_range)
    with open_file(file) as (source, _size), mute_pillow_warnings():
        image = read_header(source, max_pixels, page)
        try:
            if image.format in CHECKS:
                CHECKS[image.format](source)
            if isinstance(image, JpegImageFile) and image.mode in jpeg.MODES:
                source.seek(0)
                return _apply_orientation(image, jpeg.decode_jpeg(source.read()))
            again = partial(read_header, source, max_pixels, page)
            rgb = _to_rgb(image, again, value_range)
            # Some programs switch this on for the whole process; then Pillow fills with grey.
            if ImageFile.LOAD_TRUNCATED_IMAGES and is_truncated(source):
                raise ImageError("truncated", "Pillow is configured to fill the rest with grey")
            return rgb if isinstance(image, ArrayImage) else _apply_orientation(image, rgb)
        except Exception as error:
            raise to_image_error(source, error) from error


def measure_extremes(
    file: str | os.PathLike[str] | Content, max_pixels: int = MAX_PIXELS, page: int = 0
) -> ValueRange:
    """Return the least and the greatest stored value of an image of more than 8 bits.

    Args:
        file: As for `decode`.
        max_pixels: As for `decode`.
        page: As for `decode`.

    Raises:
        ImageError: As for `decode`.
    """
    if isinstance(file, Image.Image | np.ndarray):
        return find_extremes(np.asarray(file))
    with open_file(file) as (source, _size), mute_pillow_warnings():
        image = read_header(source, max_pixels, page)
        try:
            again = partial(read_header, source, max_pixels, page)
            samples = read_samples(image, again)
            return find_extremes(samples[..., :3] if samples.ndim == 3 else samples)
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


def _convert_pixels(
    pixels: Image.Image | NDArray[np.uint8], max_pixels: int, value_range: ValueRange | None
) -> Image.Image:
    """Return a new image in mode RGB, upright, of an image that is in memory."""
    height, width = pixels.shape[:2] if isinstance(pixels, np.ndarray) else pixels.size[::-1]
    check_size(width, height, max_pixels)
    if isinstance(pixels, np.ndarray):
        pixels = Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels)
    try:
        with mute_pillow_warnings():
            pixels.load()
            rgb = _apply_orientation(pixels, _to_rgb(pixels, lambda: pixels, value_range))
            return rgb.copy() if rgb is pixels else rgb
    except Exception as error:
        raise to_image_error(None, error) from error


def find_transpose(image: Image.Image) -> Image.Transpose | None:
    """Return what undoes the EXIF orientation, None if it is upright, unreadable or not 1 to 8."""
    try:
        return UNDO_ORIENTATION.get(image.getexif().get(ORIENTATION, 1))
    except Exception:
        return None


def _apply_orientation(image: Image.Image, pixels: Image.Image) -> Image.Image:
    transpose = find_transpose(image)
    return pixels if transpose is None else pixels.transpose(transpose)


def _to_rgb(
    image: AnyImage | Image.Image,
    reopen: Callable[[], AnyImage | Image.Image],
    value_range: ValueRange | None,
) -> Image.Image:
    """Return the pixels of an image, not turned; `reopen` opens it once more."""
    chosen, mode = value_range or get_stated_range(image), get_mode(image)
    if isinstance(image, ArrayImage):
        return _render_array(image, chosen)
    if is_deep(mode) and not (is_deep_colour(mode) and chosen in (None, WIDE_RANGE)):
        samples = read_samples(image, reopen)
        return _render_samples(image, samples, chosen)
    image.load()
    if image.has_transparency_data:
        return _composite_on_white(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _render_array(image: ArrayImage, value_range: ValueRange | None) -> Image.Image:
    samples = image.read()
    if value_range is not None or samples.dtype != np.uint8:
        return _render_samples(image, samples, value_range)
    return Image.fromarray(255 - samples if image.is_inverted else samples).convert("RGB")


def _render_samples(
    image: AnyImage | Image.Image, samples: NDArray[Any], value_range: ValueRange | None
) -> Image.Image:
    """Scale samples `[h, w]` or `[h, w, c]` to RGB; a fourth channel is alpha."""
    chosen = value_range or find_default_range(samples)
    colours = samples[..., :3] if samples.ndim == 3 else samples
    rgb = Image.fromarray(scale_samples(colours, chosen, image)).convert("RGB")
    if samples.shape[2:] != (4,) or image.mode == "RGBX":
        return rgb
    alpha = samples[..., 3]
    opaque = chosen[1] if 0 < alpha.max() <= chosen[1] else WIDE_RANGE[1]  # as deep as the colours
    rgb.putalpha(Image.fromarray(np.rint(alpha * (255 / opaque)).astype(np.uint8)))
    return _composite_on_white(rgb)


def _composite_on_white(image: Image.Image) -> Image.Image:
    result = Image.new("RGB", image.size)
    for top, bottom in iter_strips(image.height, image.width):
        strip = image.crop((0, top, image.width, bottom)).convert("RGBA")
        white = Image.new("RGBA", strip.size, "white")
        result.paste(Image.alpha_composite(white, strip).convert("RGB"), (0, top))
    return result
