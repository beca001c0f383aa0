"""Images in memory: their row, and their pixels if they are still the same."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from PIL import Image

from ilk.images.decode import decode
from ilk.images.files import inspect_file
from ilk.images.formats import MAX_PIXELS
from ilk.images.pixel_summary import compute_pixel_digest
from ilk.images.reading import is_digest_of
from ilk.images.refused import ImageError
from ilk.images.rows import Content, Row
from ilk.images.samples import ValueRange, is_deep

DEEP_DIGEST_PREFIX = b"ilk deep pixels\0"
CHANNEL_MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # Pillow's mode by number of channels


def inspect_content(content: Content, row: Row, max_pixels: int = MAX_PIXELS) -> Row:
    """Return the row of an image in memory, an array `[h, w]` or `[h, w, c]` or other content.

    The digest of bytes is that of a file with these bytes. That of pixels is the SHA-256 of their
    size and of what encoders get, 8-bit RGB, or of their values of more than 8 bits; pixels that
    cannot be converted are refused.

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
    digest = _digest_pixels(content, rgb)
    return replace(row, digest=digest, width=width, height=height, mode=mode)


def decode_content(
    content: Content,
    digest: str,
    max_pixels: int = MAX_PIXELS,
    *,
    page: int = 0,
    value_range: ValueRange | None = None,
) -> Image.Image:
    """Return the pixels of an image in memory, if it is unchanged since `inspect_content`.

    Args:
        content: The image: bytes, a Pillow image, or an array `[h, w]` or `[h, w, c]`.
        digest: Digest of its row.
        max_pixels: Width × height above which it is refused.
        page: Page of its row.
        value_range: Value range of its row.

    Raises:
        ImageError: It has changed, or cannot be decoded.
    """
    rgb = decode(content, max_pixels, page=page, value_range=value_range)
    if not isinstance(content, bytes) and not is_digest_of(
        digest, _digest_pixels(content, rgb), page, value_range
    ):
        raise ImageError(
            "unreadable", "the image has changed since it was listed", is_permanent=False
        )
    return rgb


def _digest_pixels(content: Content, rgb: Image.Image) -> str:
    """Return the SHA-256 of the size and the pixels of an image, as hex.

    Of more than 8 bits, the stored values count, else what they became in RGB.
    """
    if isinstance(content, Image.Image) and is_deep(content.mode):
        digest = hashlib.sha256(DEEP_DIGEST_PREFIX + f"{content.mode} {content.size}\0".encode())
        digest.update(content.tobytes())
        return digest.hexdigest()
    return compute_pixel_digest(rgb)
