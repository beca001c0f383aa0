"""Find WebP files whose picture ends in zeros: half a file, padded to its full length.

libwebp decodes them without complaint. The bits of an even area are zeros too, so that a bound
depends on the number of pixels. (RFC 9649, sections 2.3 to 2.7 and 3; RFC 6386, section 9.)
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from ilk.images.rows.refused import ImageError

HEADER_BYTES = 12  # RIFF, length, WEBP
FRAME_HEADER_BYTES = 16  # of ANMF, before its chunks
FREE_BYTES = 64  # zeros that say nothing
MACROBLOCK = 256  # pixels; one without coefficients is coded in less than a byte
BITS_PER_BYTE = 8  # a lossless pixel of an even area is coded in a bit at most
SIZE_MASK = 0x3FFF


def check_webp(source: BinaryIO) -> None:
    """Raise ImageError if a frame of a WebP file ends in zeros that cannot be a picture."""
    source.seek(0)
    content = source.read()
    for name, start, end in _iter_chunks(content, HEADER_BYTES, len(content)):
        n_pixels = _read_size(name, content[start : start + 10])
        share = MACROBLOCK if name == b"VP8 " else BITS_PER_BYTE
        body = content[start:end]
        n_zeros = len(body) - len(body.rstrip(b"\0"))
        if n_pixels and n_zeros > FREE_BYTES + n_pixels // share:
            raise ImageError("truncated", f"its picture ends in {n_zeros:,} bytes of zeros")


def _iter_chunks(content: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of the chunks that hold pictures."""
    while at + 8 <= end:
        name, length = struct.unpack_from("<4sI", content, at)
        start, stop = at + 8, min(at + 8 + length, end)
        if name == b"ANMF":
            yield from _iter_chunks(content, start + FRAME_HEADER_BYTES, stop)
        elif name in (b"VP8 ", b"VP8L"):
            yield name, start, stop
        at = at + 8 + length + length % 2


def _read_size(name: bytes, head: bytes) -> int:
    """Return the number of pixels that the header of a frame states, 0 if it is damaged."""
    if name == b"VP8 " and head[3:6] == b"\x9d\x01\x2a" and len(head) >= 10:
        width, height = struct.unpack_from("<HH", head, 6)
        return int(width & SIZE_MASK) * int(height & SIZE_MASK)
    if name == b"VP8L" and head[:1] == b"\x2f" and len(head) >= 5:
        bits = int.from_bytes(head[1:5], "little")
        return ((bits & SIZE_MASK) + 1) * ((bits >> 14 & SIZE_MASK) + 1)
    return 0
