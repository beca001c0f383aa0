"""Whether all of a file is there: what each format tells about its own end."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO
from zlib import crc32

from ilk.images.refused import Refused

PNG = b"\x89PNG\r\n\x1a\n"
SHORTEST = 12  # bytes: less than any format's header
_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_STARTS, _LENGTHS = (273, 324), (279, 325)  # of strips and of tiles


def length(source: BinaryIO) -> int:
    """Bytes in the file."""
    return source.seek(0, 2)


def cut(source: BinaryIO) -> bool:
    """Whether the file lacks its end. False also where the format does not tell."""
    size = length(source)
    source.seek(0)
    head = source.read(SHORTEST)
    source.seek(max(0, size - 64))
    tail = source.read().rstrip(b"\0")
    if len(head) < SHORTEST:
        return True
    if head.startswith(b"\xff\xd8\xff"):
        return not tail.endswith(b"\xff\xd9")
    if head.startswith(PNG):
        return b"IEND" not in tail
    if head.startswith(b"GIF"):
        return not tail.endswith(b";")
    if head.startswith(b"RIFF"):
        return bool(size < struct.unpack_from("<I", head, 4)[0] + 8)
    if head.startswith(b"BM"):
        return bool(size < struct.unpack_from("<I", head, 2)[0])
    return head[:4] in (b"II*\0", b"MM\0*") and any(end > size for end in _tiff_ends(source))


def check_png(source: BinaryIO) -> None:
    """Compare the checksums of a PNG's critical chunks, which Pillow does not (PNG, 5.3).

    Raises:
        Refused: A chunk is missing its end, or was altered.
    """
    source.seek(len(PNG))
    name = b""
    while name != b"IEND":
        head = source.read(8)
        wanted, name = struct.unpack(">I4s", head) if len(head) == 8 else (0, b"")
        body, said = source.read(wanted), source.read(4)
        if len(said) < 4:
            raise Refused("truncated", f"it ends after {length(source)} bytes")
        if name[:1].isupper() and crc32(body, crc32(name)) != int.from_bytes(said, "big"):
            raise Refused("unreadable", f"damaged: wrong checksum in {name.decode('latin-1')}")


def _tiff_ends(source: BinaryIO) -> Iterator[int]:
    """Where the first page's parts end, as its directory says (TIFF 6.0, section 2)."""
    source.seek(0)
    head = source.read(8)
    end = "<" if head[:2] == b"II" else ">"
    at = struct.unpack_from(end + "I", head, 4)[0]
    source.seek(at)
    count = int.from_bytes(source.read(2), "little" if end == "<" else "big")
    yield at + 2 + 12 * count
    table = source.read(12 * count)
    told: dict[int, tuple[int, ...]] = {}
    for i in range(0, len(table) - 11, 12):
        tag, kind, n, place = struct.unpack_from(end + "HHII", table, i)
        bytes_ = n * _TIFF_SIZES.get(kind, 0)
        if bytes_ > 4:
            yield place + bytes_
        if tag in (*_STARTS, *_LENGTHS) and kind in (3, 4):
            source.seek(place if bytes_ > 4 else at + 2 + i + 8)
            width, form = (2, "H") if kind == 3 else (4, "I")
            data = source.read(bytes_)
            told[tag] = struct.unpack_from(f"{end}{len(data) // width}{form}", data)
    for starts, lengths in zip(_STARTS, _LENGTHS, strict=True):
        pairs = zip(told.get(starts, ()), told.get(lengths, ()), strict=False)
        yield from (start + size for start, size in pairs)
