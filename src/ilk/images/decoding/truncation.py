"""Detect truncated files from what each format says about its end."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO
from zlib import crc32

from ilk.images.rows.refused import ImageError

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MIN_BYTES = 12  # bytes: less than any format's header
_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_OFFSET_TAGS, _BYTE_COUNT_TAGS = (273, 324), (279, 325)  # of strips and of tiles


def get_size(source: BinaryIO) -> int:
    """Return the size of the file in bytes."""
    return source.seek(0, 2)


def is_truncated(source: BinaryIO) -> bool:
    """Whether the file is cut off. Also False if the format cannot tell."""
    size = get_size(source)
    source.seek(0)
    head = source.read(MIN_BYTES)
    source.seek(max(0, size - 64))
    tail = source.read().rstrip(b"\0")
    if len(head) < MIN_BYTES:
        return True
    if head.startswith(b"\xff\xd8\xff"):
        return not tail.endswith(b"\xff\xd9")
    if head.startswith(PNG_SIGNATURE):
        return b"IEND" not in tail
    if head.startswith(b"GIF"):
        return not tail.endswith(b";")
    if head.startswith(b"RIFF"):
        return bool(size < struct.unpack_from("<I", head, 4)[0] + 8)
    if head.startswith(b"BM"):
        return bool(size < struct.unpack_from("<I", head, 2)[0])
    return head[:4] in (b"II*\0", b"MM\0*") and any(end > size for end in _iter_tiff_ends(source))


def check_png(source: BinaryIO) -> None:
    """Compare the checksums of a PNG's critical chunks, which Pillow does not (PNG, 5.3).

    Raises:
        ImageError: A chunk is cut off or corrupt.
    """
    source.seek(len(PNG_SIGNATURE))
    name = b""
    while name != b"IEND":
        head = source.read(8)
        n_bytes, name = struct.unpack(">I4s", head) if len(head) == 8 else (0, b"")
        body, checksum = source.read(n_bytes), source.read(4)
        if len(checksum) < 4:
            raise ImageError("truncated", f"it ends after {get_size(source)} bytes")
        if name[:1].isupper() and crc32(body, crc32(name)) != int.from_bytes(checksum, "big"):
            raise ImageError("unreadable", f"damaged: wrong checksum in {name.decode('latin-1')}")


def _iter_tiff_ends(source: BinaryIO) -> Iterator[int]:
    """Yield the ends of the first page's parts according to its directory (TIFF 6.0, section 2)."""
    source.seek(0)
    head = source.read(8)
    end = "<" if head[:2] == b"II" else ">"
    directory = struct.unpack_from(end + "I", head, 4)[0]
    source.seek(directory)
    count = int.from_bytes(source.read(2), "little" if end == "<" else "big")
    yield directory + 2 + 12 * count
    table = source.read(12 * count)
    values: dict[int, tuple[int, ...]] = {}
    for i in range(0, len(table) - 11, 12):
        tag, kind, n, offset = struct.unpack_from(end + "HHII", table, i)
        bytes_ = n * _TIFF_SIZES.get(kind, 0)
        if bytes_ > 4:
            yield offset + bytes_
        if tag in (*_OFFSET_TAGS, *_BYTE_COUNT_TAGS) and kind in (3, 4):
            source.seek(offset if bytes_ > 4 else directory + 2 + i + 8)
            width, code = (2, "H") if kind == 3 else (4, "I")
            data = source.read(bytes_)
            values[tag] = struct.unpack_from(f"{end}{len(data) // width}{code}", data)
    for starts, lengths in zip(_OFFSET_TAGS, _BYTE_COUNT_TAGS, strict=True):
        pairs = zip(values.get(starts, ()), values.get(lengths, ()), strict=False)
        yield from (start + size for start, size in pairs)
