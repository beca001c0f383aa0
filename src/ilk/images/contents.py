"""Images in memory: their row, and their pixels if they are still the same."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from PIL import Image

from ilk.images.decode import decode
from ilk.images.files import inspect_file
from ilk.images.formats import MAX_PIXELS
from ilk.images.members import Member
from ilk.images.memory import pixel_budget
from ilk.images.refused import ImageError
from ilk.images.rows import Content, Row

PIXEL_DIGEST_PREFIX = b"ilk RGB pixels\0"  # no image file begins with it
CHANNEL_MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # Pillow's mode by number of channels
AnyContent = Content | Member
"""An image that is no file of its own: in memory, or a file in an archive."""
BYTES_PER_PIXEL = 8  # that a decoded pixel counts for in `ilk.images.memory`


class ContentMap(Mapping[str, Content]):
    """Images by digest: those in memory, and files of archives, which are read when looked up.

    A lookup raises ImageError if the file cannot be read any more, or has changed.
    """

    def __init__(self, items: Mapping[str, AnyContent]) -> None:
        self._items = dict(items)

    def __getitem__(self, digest: str) -> Content:
        item = self._items[digest]
        if not isinstance(item, Member):
            return item
        content = item.read()
        if hashlib.sha256(content).hexdigest() != digest:
            raise ImageError(
                "unreadable", "the archive has changed since it was listed", is_permanent=False
            )
        return content

    def __contains__(self, digest: object) -> bool:
        return digest in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def select(self, digests: Collection[str]) -> ContentMap:
        """Return the images with these digests; nothing is read."""
        return ContentMap({d: item for d, item in self._items.items() if d in digests})


def inspect_content(content: AnyContent, row: Row, max_pixels: int = MAX_PIXELS) -> Row:
    """Return the row of an image in memory or in an archive.

    The digest of bytes is that of a file with these bytes. That of pixels is the SHA-256 of their
    size and of what encoders get, 8-bit RGB; pixels that cannot be converted are refused.

    Args:
        content: The image: bytes, a Pillow image, an array `[h, w]` or `[h, w, c]`, or a file of an
            archive, which is read.
        row: Its path, label and split.
        max_pixels: Width × height above which it is refused.
    """
    if isinstance(content, Member):
        return _inspect_member(content, row, max_pixels)
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
    return replace(row, digest=_digest_pixels(rgb), width=width, height=height, mode=mode)


def _inspect_member(member: Member, row: Row, max_pixels: int) -> Row:
    try:
        with pixel_budget.reserve(member.size // BYTES_PER_PIXEL):
            return inspect_file(member.read(), row, max_pixels)
    except ImageError as error:
        return replace(row, status="refused", reason=error.reason, detail=error.detail)


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
    if not isinstance(content, bytes) and _digest_pixels(rgb) != digest:
        raise ImageError(
            "unreadable", "the image has changed since it was listed", is_permanent=False
        )
    return rgb


def _digest_pixels(rgb: Image.Image) -> str:
    """Return the SHA-256 of the size and the pixels of an RGB image, as hex."""
    digest = hashlib.sha256(PIXEL_DIGEST_PREFIX + b"%d x %d\0" % rgb.size)
    digest.update(rgb.tobytes())
    return digest.hexdigest()
