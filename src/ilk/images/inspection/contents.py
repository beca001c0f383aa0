"""Images in memory: their row, and their pixels if they are still the same."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from PIL import Image

from ilk.images.decoding.decode import decode, find_transpose
from ilk.images.decoding.derived_digest import is_digest_of
from ilk.images.decoding.formats import MAX_PIXELS
from ilk.images.decoding.memory import pixel_budget
from ilk.images.decoding.samples import ValueRange, describe_scaling, get_stated_range, is_deep
from ilk.images.inspection.files import inspect_file
from ilk.images.inspection.members import Member
from ilk.images.inspection.pixel_summary import compute_pixel_digest
from ilk.images.rows import Content, Row
from ilk.images.rows.refused import ImageError

DEEP_DIGEST_PREFIX = b"ilk deep pixels\0"
CHANNEL_MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # Pillow's mode by number of channels
AnyContent = Content | Member
"""An image that is not a file of its own: in memory, or a file in an archive."""
WIDE_SUFFIX, WIDE_FORMATS = ";16", ("RAW", "DICOM")
BYTES_PER_PIXEL = 8  # that a decoded pixel counts for in `ilk.images.decoding.memory`


def count_pixels(row: Row) -> int:
    """Return the pixels that decoding an image counts for in `ilk.images.decoding.memory`.

    Those of deep colour, and of formats that are decoded to wider numbers, count twice.
    """
    is_wide = row.mode.endswith(WIDE_SUFFIX) or row.format in WIDE_FORMATS
    return max(row.width * row.height * (2 if is_wide else 1), row.size // BYTES_PER_PIXEL)


class ContentMap(Mapping[str, Content]):
    """Images by digest: those in memory, and files of archives, which are read when looked up.

    A lookup raises ImageError if the file cannot be read any more, or has changed.

    Args:
        items: The images by the digest of their row.
        origins: Digests of files by those of images that are read from them in a way of their own:
            a page, a value range.
    """

    def __init__(
        self, items: Mapping[str, AnyContent], origins: Mapping[str, str] | None = None
    ) -> None:
        self._items = dict(items)
        self._origins = dict(origins or {})

    def __getitem__(self, digest: str) -> Content:
        item = self._items[digest]
        if not isinstance(item, Member):
            return item
        content = item.read()
        if hashlib.sha256(content).hexdigest() != self._origins.get(digest, digest):
            raise ImageError(
                "unreadable", f"{item.noun} has changed since it was listed", is_permanent=False
            )
        return content

    def __contains__(self, digest: object) -> bool:
        return digest in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def find_item(self, digest: str) -> AnyContent | None:
        """Return the image with this digest, None if there is none; nothing is read."""
        return self._items.get(digest)

    def find_origin(self, digest: str) -> str:
        """Return the digest of the file from which the image with this digest is read."""
        return self._origins.get(digest, digest)

    def select(self, digests: Collection[str]) -> ContentMap:
        """Return the images with these digests; nothing is read."""
        return ContentMap(
            {d: item for d, item in self._items.items() if d in digests}, self._origins
        )

    def rename(self, digests: Mapping[str, str]) -> ContentMap:
        """Return the images under new digests as well, by old digest; nothing is read."""
        known = {new: old for old, new in digests.items() if old in self._items}
        return ContentMap(
            self._items | {new: self._items[old] for new, old in known.items()},
            self._origins | {new: self._origins.get(old, old) for new, old in known.items()},
        )


def to_content_map(contents: Mapping[str, Content]) -> ContentMap:
    """Return images by digest as a `ContentMap`, which reads nothing before it must."""
    return contents if isinstance(contents, ContentMap) else ContentMap(contents)


def inspect_content(content: AnyContent, row: Row, max_pixels: int = MAX_PIXELS) -> Row:
    """Return the row of an image in memory or in an archive.

    The digest of bytes is that of a file with these bytes. That of pixels is the SHA-256 of their
    size and of what encoders get, 8-bit RGB, or of their values of more than 8 bits; pixels that
    cannot be converted are refused.

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
        row = replace(row, value_range=get_stated_range(content))
    else:
        height, width = content.shape[:2]
        mode = CHANNEL_MODES[(content.shape[2:] or (1,))[0]]
    digest = _digest_pixels(content, rgb)
    return replace(row, digest=digest, width=width, height=height, mode=mode)


def _inspect_member(member: Member, row: Row, max_pixels: int) -> Row:
    try:
        with pixel_budget.reserve(member.size // BYTES_PER_PIXEL):
            return inspect_file(member.read(), row, max_pixels)
    except ImageError as error:
        return replace(row, status="refused", reason=error.reason, detail=error.detail)


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

    Of more than 8 bits, the stored values and how they are shown count, else what they became in
    RGB.
    """
    if isinstance(content, Image.Image) and is_deep(content.mode):
        shown = (content.mode, content.size, find_transpose(content), *describe_scaling(content))
        digest = hashlib.sha256(DEEP_DIGEST_PREFIX + repr(shown).encode())
        digest.update(content.tobytes())
        return digest.hexdigest()
    return compute_pixel_digest(rgb)
