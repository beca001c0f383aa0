"""Decode JPEG files, and refuse those that libjpeg can only decode by guessing.

Pillow discards the warnings of libjpeg, so that half a file, closed with an end marker or padded
with zeros, decodes to a picture whose lower half is grey. simplejpeg is the same decoder
(libjpeg-turbo, pixel for pixel) and reports them.
"""

from __future__ import annotations

import re

import simplejpeg
from PIL import Image

from ilk.images.decoding.jpeg_holes import check_holes
from ilk.images.rows.refused import ImageError

END_MARKER = b"\xff\xd9"
PADDING = b"\x00\xff"  # what cameras fill the last block with
MODES = ("RGB", "L")
DAMAGE = ("Corrupt JPEG data", "Premature end")  # libjpeg's warnings about the picture itself


def decode_jpeg(content: bytes) -> Image.Image:
    """Return the image of a JPEG file of mode RGB or L as RGB; `content` is the whole file.

    Raises:
        ImageError: Its data ends early, or does not decode without gaps.
    """
    check_holes(content)
    try:
        return Image.fromarray(simplejpeg.decode_jpeg(content, "RGB", strict=True))
    except ValueError as error:
        message = str(error)
    if message.startswith(DAMAGE) and not _is_padding(message, content):
        raise _to_image_error(message, len(content))
    try:
        return Image.fromarray(simplejpeg.decode_jpeg(content, "RGB", strict=False))
    except ValueError as error:
        raise _to_image_error(str(error), len(content)) from error


def _is_padding(message: str, content: bytes) -> bool:
    """Whether the bytes that libjpeg skipped before the end marker are nothing but padding."""
    found = re.search(r"(\d+) extraneous bytes before marker 0xd9", message)
    end = content.rfind(END_MARKER)
    if found is None or end < 0:
        return False
    return not content[end - int(found[1]) : end].strip(PADDING)


def _to_image_error(message: str, n_bytes: int) -> ImageError:
    if "premature end" in message.casefold():
        return ImageError("truncated", f"a JPEG whose picture ends early, in {n_bytes} bytes")
    return ImageError("unreadable", f"damaged: {message.removeprefix('Corrupt JPEG data: ')}")
