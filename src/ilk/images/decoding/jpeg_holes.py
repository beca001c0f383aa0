"""Find holes of zeros in the scans of a JPEG, which libjpeg decodes without a warning.

A lost block of a disk or a broken download leaves zeros. Whether a scan may hold many depends on
its Huffman tables: the code of zeros only stands for the most frequent symbol. If that is the end
of a block, zeros are an even area, and nothing is said. If it is a coefficient, they would be
blocks full of the same coefficient, as no picture has. (ITU T.81, 1992, sections B.1.1, B.2 and
F.2.2.3.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ilk.images.rows.refused import ImageError

HOLE = b"\0" * 64  # in photographs, 4 zeros follow each other at most
MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # neither a stuffed byte nor a restart
HUFFMAN_TABLES, SCAN, END = 0xC4, 0xDA, 0xD9
ARITHMETIC = range(0xC9, 0xD0)  # frames of another coding; 0xCC among them defines its tables
WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
N_CODE_LENGTHS = 16
LAST_COEFFICIENT = 63


def check_holes(content: bytes) -> None:
    """Raise ImageError if a scan of a JPEG holds zeros that cannot be a picture.

    Args:
        content: The whole file. One that cannot be parsed is left to the decoder.
    """
    start = content.find(b"\xff\xda")
    if start < 0 or content.find(HOLE, start) < 0:
        return
    for first, last in _iter_scans(content):
        if (hole := content.find(HOLE, first, last)) < 0:
            continue
        if not content[hole:last].strip(b"\0"):
            raise ImageError("truncated", f"a JPEG whose picture ends at byte {hole:,}, in zeros")
        raise ImageError("unreadable", f"damaged: a hole of zeros at byte {hole:,}")


def _iter_scans(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield start and end of the data of those scans in which zeros stand for coefficients."""
    at, first_symbols = 2, dict[int, int]()
    while found := MARKER.search(content, at):
        marker, at = content[found.end() - 1], found.end()
        if marker == END or marker in ARITHMETIC:
            return
        if marker in WITHOUT_LENGTH:
            continue
        length = int.from_bytes(content[at : at + 2], "big")
        segment = content[at + 2 : at + length]
        at += max(length, 2)
        if marker == HUFFMAN_TABLES:
            first_symbols |= _read_first_symbols(segment)
        elif marker == SCAN:
            following = MARKER.search(content, at)
            end = following.start() if following else len(content)
            if _codes_coefficients(segment, first_symbols):
                yield at, end
            at = end


def _read_first_symbols(segment: bytes) -> dict[int, int]:
    """Return the symbol of the code of zeros by table: class times 16 and number."""
    symbols, at = {}, 0
    while at + 1 + N_CODE_LENGTHS < len(segment):
        counts = segment[at + 1 : at + 1 + N_CODE_LENGTHS]
        values = at + 1 + N_CODE_LENGTHS
        if sum(counts) and values < len(segment):
            symbols[segment[at]] = segment[values]
        at = values + sum(counts)
    return symbols


def _codes_coefficients(header: bytes, first_symbols: dict[int, int]) -> bool:
    """Whether zeros in a scan stand for coefficients in every block of one of its components."""
    n = header[0] if header else 0
    if len(header) < 4 + 2 * n:
        return False
    start, end, approximation = header[1 + 2 * n : 4 + 2 * n]
    is_sequential = start == 0 and end == LAST_COEFFICIENT
    if approximation >> 4 or not (is_sequential or start > 0):
        return False  # bits of refinement, or only the mean of each block
    tables = [0x10 | (header[2 + 2 * i] & 0x0F) for i in range(n)]
    return any(first_symbols.get(table, 0) & 0x0F for table in tables)
