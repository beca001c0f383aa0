"""Files made of boxes (ISO/IEC 14496-12), such as HEIC and AVIF: their brands and their length."""

from __future__ import annotations

import struct
from typing import BinaryIO

from ilk.images.rows.refused import ImageError

MAX_BOXES = 10_000


def list_brands(head: bytes) -> set[bytes]:
    """Return the brands that the first box of a file names; empty if it is another kind of file."""
    if head[4:8] != b"ftyp":
        return set()
    end = min(len(head), int.from_bytes(head[:4], "big"))
    return {head[8:12], *(head[at : at + 4] for at in range(16, end - 3, 4))}


def check_boxes(source: BinaryIO) -> None:
    """Raise ImageError if a box at the top level ends after the file."""
    size, at = source.seek(0, 2), 0
    for _ in range(MAX_BOXES):
        if at >= size:
            return
        source.seek(at)
        head = source.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1 and len(head) == 16:
            length = struct.unpack_from(">Q", head, 8)[0]
        if length == 0:  # to the end of the file
            return
        if not head[4:8].strip(b"\0"):  # padding
            return
        if length < 8 or not head[4:8].isascii():
            return  # what follows the boxes is not a box
        if at + length > size:
            raise ImageError("truncated", f"it ends after {size} bytes")
        at += length
