"""Images in memory: their row, and their pixels if they are still the same."""

from __future__ import annotations

from dataclasses import replace

from PIL import Image

from ilk.images.decode import decode
from ilk.images.files import inspect_file
from ilk.images.formats import MAX_PIXELS
from ilk.images.pixel_summary import compute_pixel_digest
from ilk.images.refused import ImageError
from ilk.images.rows import Content, Row

CHANNEL_MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # Pillow's mode by number of channels


def inspect_content(content: Content, row: Row, max_pixels: int = MAX_PIXELS) -> Row:
    """Return the row of an image in memory, an array `[h, w]` or `[h, w, c]` or other content.

    The digest of bytes is that of a file with these bytes. That of pixels is the SHA-256 of their
    size and of what encoders get, 8-bit RGB; pixels that cannot be converted are refused.

    Args:
        content: The image.
        row: Its path, label and split.
        max_pixels: Width × height above which it is refused.
    """
    if isinstance(content, bytes):
        return inspect_file(content, row, max_pixels)
    try:
        rgb = decode(content, max_pixels)
    except ImageError as error:
        return replace(row, status="refused", reason=error.reason, detail=error.detail)
    if isinstance(content, Image.Image):
        width, height, mode = *content.size, content.mode
    else:
        height, width = content.shape[:2]
        mode = CHANNEL_MODES[(content.shape[2:] or (1,))[0]]
    return replace(row, digest=compute_pixel_digest(rgb), width=width, height=height, mode=mode)


def decode_content(content: Content, digest: str, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Return the pixels of an image in memory, if it is unchanged since `inspect_content`.

    Args:
        content: The image: bytes, a Pillow image, or an array `[h, w]` or `[h, w, c]`.
        digest: Digest of its row.
        max_pixels: Width × height above which it is refused.

    Raises:
        ImageError: It has changed, or cannot be decoded.
    """
    rgb = decode(content, max_pixels)
    if not isinstance(content, bytes) and compute_pixel_digest(rgb) != digest:
        raise ImageError(
            "unreadable", "the image has changed since it was listed", is_permanent=False
        )
    return rgb
