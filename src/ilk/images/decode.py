"""Pixels from a file: 8-bit RGB, upright, whatever was stored.

- **Grey of more than 8 bits** is scaled, never clipped. 16 bits: by 255/65535, what the file can
  hold, so that a dark image stays dark (12-bit TIFF: by 255/4095). Floats and 32-bit integers do
  not say what white is: 1 for floats, 65535 for integers, if every pixel lies between 0 and that;
  otherwise the image's own least and greatest value become 0 and 255. Fractions are rounded; a
  pixel that is not finite is black.
- **16-bit colour** keeps its upper 8 bits (Pillow's way).
- **Transparency** (alpha, a palette's or a colour key) is laid on white.
- **EXIF orientation** is obeyed; colour profiles are not applied.
- Of several frames or pages the first is taken.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from ilk.images.files import opened
from ilk.images.formats import MAX_PIXELS, damage, header, quiet
from ilk.images.refused import Refused
from ilk.images.whole import check_png, cut

__all__ = ["MAX_PIXELS", "Refused", "decode", "thumbnail"]

ORIENTATION = 0x0112
FLIP = Image.Transpose
BITS, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339  # TIFF 6.0, section 8 and 19
WHITE_IS_ZERO = 0
UPRIGHT = {  # EXIF 2.3, table 6: what undoes each orientation
    2: FLIP.FLIP_LEFT_RIGHT,
    3: FLIP.ROTATE_180,
    4: FLIP.FLIP_TOP_BOTTOM,
    5: FLIP.TRANSPOSE,
    6: FLIP.ROTATE_270,
    7: FLIP.TRANSVERSE,
    8: FLIP.ROTATE_90,
}


def decode(file: str | os.PathLike[str] | bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The image in `file` (a path, or the bytes themselves), mode RGB, 8 bits, upright.

    Raises:
        Refused: It gives no image; says why. Never a part of an image, never a blank.
    """
    with _source(file) as source, quiet():
        image = header(source, max_pixels)
        try:
            if image.format == "PNG":
                check_png(source)
            image.load()
            # Some programs switch this on for the whole process; then Pillow fills with grey.
            if ImageFile.LOAD_TRUNCATED_IMAGES and cut(source):
                raise Refused("truncated", "Pillow was told to fill the rest with grey")
            return _upright(image, _rgb(image))
        except Exception as error:
            raise damage(source, error) from error


def thumbnail(
    file: str | os.PathLike[str] | bytes, side: int, max_pixels: int = MAX_PIXELS
) -> Image.Image:
    """`decode`, then shrunk to fit a square of `side` pixels; a smaller image stays as it is."""
    image = decode(file, max_pixels)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return image


@contextmanager
def _source(file: str | os.PathLike[str] | bytes) -> Iterator[BinaryIO]:
    if isinstance(file, bytes):
        yield BytesIO(file)
    else:
        with opened(file) as (source, _size):
            yield source


def _upright(image: ImageFile.ImageFile, pixels: Image.Image) -> Image.Image:
    """Obey the EXIF orientation; one that cannot be read or is not 1 to 8 is none."""
    try:
        turn = UPRIGHT.get(image.getexif().get(ORIENTATION, 1))
    except Exception:
        return pixels
    return pixels if turn is None else pixels.transpose(turn)


def _rgb(image: ImageFile.ImageFile) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_grey(image)).convert("RGB")
    if image.has_transparency_data:
        over = image.convert("RGBA")
        white = Image.new("RGBA", over.size, "white")
        return Image.alpha_composite(white, over).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _grey(image: ImageFile.ImageFile) -> NDArray[np.uint8]:
    """Pixels of more than 8 bits `[h, w]` as 0 to 255, by the rule above."""
    tags: Any = getattr(image, "tag_v2", {})
    stored = np.asarray(image)
    if image.mode == "I" and tags.get(BITS) == (32,) and tags.get(SAMPLE_FORMAT, (1,)) == (1,):
        stored = stored.view(np.uint32)  # Pillow has no unsigned form of 32 bits
    seen = np.isfinite(stored)
    if not seen.any():
        raise Refused("unreadable", "no pixel is a finite number")
    values = np.where(seen, stored, stored[seen].min()).astype(np.float64)
    low, high = _range(image.mode, tags, values)
    grey = np.rint((values - low) * (255 / (high - low))).astype(np.uint8)
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        grey = 255 - grey
    grey[~seen] = 0
    if (key := image.info.get("transparency")) is not None:
        grey[stored == key] = 255
    return grey


def _range(mode: str, tags: Any, values: NDArray[np.float64]) -> tuple[float, float]:
    """The stored numbers that become 0 and 255."""
    low, high = float(values.min()), float(values.max())
    bits = tags.get(BITS, (16,))[0]
    white = 1.0 if mode == "F" else 2.0 ** (bits if bits < 16 else 16) - 1
    if low >= 0 and high <= white:
        return 0.0, white
    return low, max(high, np.nextafter(low, np.inf))
