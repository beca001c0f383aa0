"""How a file becomes one image: its page and its value range, and the digest that names the two."""

from __future__ import annotations

import hashlib

from ilk.images.decoding.samples import DEEP_COLOUR, WIDE_RANGE, ValueRange

WIDE_MODES = ("I;16", "I;16B", "I;16L", "I;16N")


def derive_digest(digest: str, page: int = 0, value_range: ValueRange | None = None) -> str:
    """Return the digest of an image: that of its file, unless it is read in a way of its own.

    The first page has the digest of the file, which it stands for.

    Args:
        digest: SHA-256 of the bytes of the file, hex.
        page: Number of the page, from 1; 0 for the file.
        value_range: Range that is not the default one, else None.
    """
    if page > 1:
        digest = hashlib.sha256(f"ilk page {page} of {digest}".encode()).hexdigest()
    if value_range is not None:
        low, high = value_range
        text = f"ilk values {float(low)!r} to {float(high)!r} of {digest}"
        digest = hashlib.sha256(text.encode()).hexdigest()
    return digest


def is_default_range(mode: str, value_range: ValueRange) -> bool:
    """Whether samples of a mode are read with a range as they are without one."""
    is_wide = mode in WIDE_MODES or mode.endswith(DEEP_COLOUR)
    return is_wide and tuple(value_range) == WIDE_RANGE


def is_digest_of(digest: str, content: str, page: int, value_range: ValueRange | None) -> bool:
    """Whether `digest` is that of an image read from the content whose digest is `content`."""
    return digest in (derive_digest(content, page), derive_digest(content, page, value_range))
