"""What is kept of the pixels of an image: their digest, and a thumbnail.

The digest is that of what encoders get, 8-bit RGB, upright, so that the same picture has the same
digest in every lossless format, with any compression and metadata. The thumbnail finds pictures
that are nearly the same (`ilk.images.duplicates.near_duplicates`). Both are computed while an image
is decoded for another reason, and cached by the digest of the file.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from PIL import Image

PREFIX = b"ilk RGB pixels\0"  # no image file begins with it
SIDE = 16  # of the thumbnail, which holds all frequencies that the perceptual hash uses
STRIP_PIXELS = 2**22  # copied at a time: an image of 128 million pixels must not cost gigabytes


@dataclass(frozen=True, slots=True)
class PixelSummary:
    """What is kept of the pixels of one image.

    Attributes:
        digest: SHA-256 of the size and the pixels, hex.
        thumbnail: The picture reduced to `SIDE` × `SIDE` pixels, RGB, as bytes `[SIDE, SIDE, 3]`;
            each is a mean with triangular weights, which overlap, so that it changes little when
            the picture is resized or moved by a fraction of a cell.
    """

    digest: str
    thumbnail: bytes


def summarize_pixels(rgb: Image.Image) -> PixelSummary:
    """Return the summary of a decoded image of mode RGB."""
    small = rgb.resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return PixelSummary(compute_pixel_digest(rgb), small.tobytes())


def compute_pixel_digest(rgb: Image.Image) -> str:
    """Return the SHA-256 of the size and the pixels of an image of mode RGB, as hex."""
    width, height = rgb.size
    digest = hashlib.sha256(PREFIX + b"%d x %d\0" % rgb.size)
    rows = max(1, STRIP_PIXELS // max(width, 1))
    if rows >= height:
        digest.update(rgb.tobytes())
        return digest.hexdigest()
    for top in range(0, height, rows):
        digest.update(rgb.crop((0, top, width, min(top + rows, height))).tobytes())
    return digest.hexdigest()
