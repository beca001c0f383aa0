"""TIFF: the full-resolution page, whatever stands first in the file; camera raw files go on.

A page is a directory of the file's chain that is neither a reduced version of another (NewSubfile
Type, bit 0) nor a mask (bit 2). A file whose chain holds only reduced pages keeps the image in a
SubIFD, as in TIFF/EP. (Adobe, TIFF 6.0, 1992, section 8; TIFF Technical Note 1: TIFF Trees, 1995.)
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import BinaryIO

from PIL import ImagePalette
from PIL.TiffImagePlugin import TiffImageFile

from ilk.images.decoding.array_image import ArrayImage
from ilk.images.readers import raw
from ilk.images.rows.refused import ImageError

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
SUBFILE, OLD_SUBFILE, PHOTOMETRIC, SUB_DIRECTORIES, DNG_VERSION = 254, 255, 262, 330, 50706
TAGS = (SUBFILE, OLD_SUBFILE, PHOTOMETRIC, SUB_DIRECTORIES, DNG_VERSION)
RAW_PHOTOMETRICS = {32803, 34892}  # a colour filter array; linear raw
REDUCED, MASK, OLD_REDUCED = 1, 4, 2
SIZES = {1: 1, 3: 2, 4: 4, 13: 4, 16: 8, 18: 8}  # bytes of the types that hold numbers or offsets
CODES = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
COLOUR_MAP = 320
MAX_DIRECTORIES = 4_096
MAX_ENTRIES = 4_096
MAX_VALUES = 64  # of one tag; more sub-directories are not looked at


@dataclass(frozen=True)
class Directory:
    """Where a directory is, and those of its tags that say what it holds."""

    offset: int
    tags: dict[int, tuple[int, ...]] = field(default_factory=dict)

    def get(self, tag: int) -> int:
        """Return the first value of a tag, 0 if it is absent."""
        return (*self.tags.get(tag, ()), 0)[0]

    @property
    def is_full(self) -> bool:
        """Whether it is an image of its own rather than a reduced version or a mask."""
        is_reduced = self.get(SUBFILE) & (REDUCED | MASK) or self.get(OLD_SUBFILE) == OLD_REDUCED
        return not is_reduced

    @property
    def is_raw(self) -> bool:
        """Whether it belongs to a camera raw file."""
        return DNG_VERSION in self.tags or self.get(PHOTOMETRIC) in RAW_PHOTOMETRICS


class TiffPage(TiffImageFile):
    """A page of a TIFF file, and how many there are."""

    n_pages = 1


def matches(head: bytes) -> bool:
    """Whether a file begins like a TIFF file."""
    return head.startswith(SIGNATURES)


def open_image(source: BinaryIO, page: int) -> TiffImageFile | ArrayImage:
    """Return a page, by default the first of full resolution.

    Raises:
        ImageError: There is none, or it is a camera raw file that cannot be read.
    """
    source.seek(0)
    head = source.read(16)
    try:
        chain = list(_iter_chain(source, head))
        inner = [child for top in chain for child in _list_children(source, head, top)]
    except (struct.error, OverflowError, OSError):
        chain, inner = [], []
    if head[8:10] == b"CR" or any(one.is_raw for one in (*chain, *inner)):
        return raw.open_image(source, page)
    pages = [one for one in chain if one.is_full] or [one for one in inner if one.is_full]
    if chain and not pages:
        raise ImageError(
            "unreadable", "a TIFF that holds only thumbnails, no image in full resolution"
        )
    if page > max(1, len(pages)):
        raise ImageError("unreadable", f"it has {len(pages)} pages, and no page {page}")
    chosen = pages[max(page, 1) - 1] if pages else None
    if chosen is not None and chosen.offset != chain[0].offset:
        source = _set_first_directory(source, head, chosen.offset)
    source.seek(0)
    image = TiffPage(source)
    image.n_pages = max(1, len(pages))
    colours = image.tag_v2.get(COLOUR_MAP, ()) if image.mode == "P" else ()
    if colours and max(colours) < 256:  # written in 8 bits: Pillow takes the upper ones of 16
        image.palette = ImagePalette.raw("RGB;L", bytes(colours))
    return image


def _iter_chain(source: BinaryIO, head: bytes) -> Iterator[Directory]:
    """Yield the directories that follow each other in the file; a circle ends."""
    seen: set[int] = set()
    offset = _read_first_offset(head)
    while offset and offset not in seen and len(seen) < MAX_DIRECTORIES:
        seen.add(offset)
        directory, offset = _read_directory(source, head, offset)
        yield directory


def _list_children(source: BinaryIO, head: bytes, parent: Directory) -> list[Directory]:
    offsets = parent.tags.get(SUB_DIRECTORIES, ())
    return [_read_directory(source, head, offset)[0] for offset in offsets if offset]


def _is_big(head: bytes) -> bool:
    return head[2:4] in (b"+\0", b"\0+")


def _get_order(head: bytes) -> str:
    return "<" if head[:2] == b"II" else ">"


def _read_first_offset(head: bytes) -> int:
    code, at = ("Q", 8) if _is_big(head) else ("I", 4)
    return int(struct.unpack_from(_get_order(head) + code, head, at)[0])


def _read_directory(source: BinaryIO, head: bytes, offset: int) -> tuple[Directory, int]:
    """Return a directory and the offset of the next, 0 if it is the last or cut off."""
    order, is_big = _get_order(head), _is_big(head)
    count_code, word, entry_bytes = ("Q", "Q", 20) if is_big else ("H", "I", 12)
    source.seek(offset)
    (n,) = struct.unpack(order + count_code, source.read(struct.calcsize(order + count_code)))
    if n > MAX_ENTRIES:
        raise struct.error("too many entries")
    table = source.read(n * entry_bytes)
    after = source.read(struct.calcsize(order + word))
    tags = {}
    for at in range(0, len(table) - entry_bytes + 1, entry_bytes):
        tag, kind = struct.unpack_from(order + "HH", table, at)
        if tag in TAGS and kind in SIZES:
            (count,) = struct.unpack_from(order + word, table, at + 4)
            place = at + 4 + struct.calcsize(order + word)
            n_values = min(count, MAX_VALUES)
            tags[tag] = _read_values(source, order, word, kind, n_values, table, place)
    is_whole = len(after) == struct.calcsize(order + word)
    following = struct.unpack(order + word, after)[0] if is_whole else 0
    return Directory(offset, tags), int(following)


def _read_values(
    source: BinaryIO, order: str, word: str, kind: int, count: int, table: bytes, place: int
) -> tuple[int, ...]:
    """Return the values of a tag, which stand in the table or where it points to."""
    n_bytes = count * SIZES[kind]
    if n_bytes <= struct.calcsize(order + word):
        data = table[place : place + n_bytes]
    else:
        source.seek(struct.unpack_from(order + word, table, place)[0])
        data = source.read(n_bytes)
    whole = len(data) // SIZES[kind]
    return struct.unpack_from(f"{order}{whole}{CODES[kind]}", data)


def _set_first_directory(source: BinaryIO, head: bytes, offset: int) -> BinaryIO:
    """Return a copy of the file in memory in which another directory is the first."""
    source.seek(0)
    content = bytearray(source.read())
    code, at = ("Q", 8) if _is_big(head) else ("I", 4)
    struct.pack_into(_get_order(head) + code, content, at, offset)
    return BytesIO(content)
