"""PBM, PGM and PPM (P1 to P6), as netpbm specifies them; 16-bit samples are big-endian."""

from __future__ import annotations

import re
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ilk.images.decoding.array_image import ArrayImage
from ilk.images.decoding.formats import MAX_PIXELS, check_size
from ilk.images.rows.refused import ImageError, describe_start

MAGIC = re.compile(rb"P[1-6](?=[\s#])")
TOKEN = re.compile(rb"(?:\s|#[^\n\r]*[\n\r])*([0-9]+)")  # a number after white space and comments
HEADER_BYTES = 2**16  # magic, comments, width, height and the largest sample
MAX_SAMPLE = 65_535
DIGITS_AND_SPACE = b"0123456789 \t\n\r\v\f"
BITMAPS, GREYS = (1, 4), (2, 5)


def matches(head: bytes) -> bool:
    """Whether a file begins like a PBM, PGM or PPM file."""
    return MAGIC.match(head) is not None


def open_image(source: BinaryIO, page: int) -> ArrayImage:
    """Return the image with its header read; its samples are read from `source` later.

    Raises:
        ImageError: It is text that only begins like an image, too large, or truncated.
    """
    source.seek(0)
    head = source.read(HEADER_BYTES)
    kind, at, numbers = int(head[1:2]), 2, []
    for _ in range(2 if kind in BITMAPS else 3):
        token = TOKEN.match(head, at)
        if token is None:
            raise _explain_header(head, at)
        numbers.append(int(token[1][:10]))
        at = token.end()
    width, height, largest = numbers[0], numbers[1], (*numbers, 1)[2]
    if kind > 3:
        at += 1  # a single character of white space
    if not 0 < largest <= MAX_SAMPLE:
        raise ImageError("unreadable", f"samples up to {largest}; {MAX_SAMPLE} is the largest")
    check_size(width, height, MAX_PIXELS)
    colours = 1 if kind in (*BITMAPS, *GREYS) else 3
    is_deep = largest > 255

    def read() -> NDArray[Any]:
        shape = (height, width) if colours == 1 else (height, width, 3)
        source.seek(at)
        if kind > 3:
            return _read_binary(source, shape, kind, largest)
        return _scale(_read_text(source.read(), shape, kind), largest)

    mode = "1" if kind in BITMAPS else "L" if colours == 1 else "RGB"
    if is_deep:
        mode = "I;16" if colours == 1 else "RGB;16"
    stated = (0.0, float(largest)) if is_deep and largest < MAX_SAMPLE else None
    image = ArrayImage((width, height), mode, "PNM", read, stated)
    _check_length(source, at, image, kind, colours * (2 if is_deep else 1))
    return image


def _explain_header(head: bytes, at: int) -> ImageError:
    rest = head[at:].lstrip()
    if not rest or rest.startswith(b"#"):
        return ImageError("truncated", f"it ends in its header, after {len(head)} bytes")
    return ImageError("not an image", describe_start(head))


def _check_length(
    source: BinaryIO, at: int, image: ArrayImage, kind: int, sample_bytes: int
) -> None:
    """Refuse a binary file that is shorter than its header says, before memory is allocated."""
    width, height = image.size
    row = (width + 7) // 8 if kind == 4 else width * sample_bytes
    least = row * height if kind > 3 else width * height * (1 if kind == 1 else 2) - 1
    if (n_bytes := source.seek(0, 2)) < at + least:
        raise ImageError("truncated", f"it ends after {n_bytes} bytes")


def _read_binary(source: BinaryIO, shape: tuple[int, ...], kind: int, largest: int) -> NDArray[Any]:
    if kind == 4:
        height, width = shape
        rows = np.frombuffer(source.read(height * ((width + 7) // 8)), np.uint8)
        bits = np.unpackbits(rows.reshape(height, -1), axis=1)[:, :width]
        return ((1 - bits) * np.uint8(255)).astype(np.uint8)
    dtype = np.dtype(">u2" if largest > 255 else "u1")
    data = source.read(int(np.prod(shape)) * dtype.itemsize)
    return _scale(np.frombuffer(data, dtype).reshape(shape), largest)


def _read_text(text: bytes, shape: tuple[int, ...], kind: int) -> NDArray[Any]:
    text = re.sub(rb"#[^\n\r]*", b" ", text)
    n = int(np.prod(shape))
    values: NDArray[Any]
    if kind == 1:  # digits need no white space between them
        digits = re.sub(rb"\s", b"", text)[:n]
        if digits.strip(b"01"):
            raise ImageError("unreadable", "a bitmap whose text is not of 0 and 1")
        values = 1 - (np.frombuffer(digits, np.uint8).astype(np.int64) - ord("0"))
    else:
        if text.translate(None, DIGITS_AND_SPACE):
            raise ImageError("unreadable", "its samples are not all numbers")
        values = np.fromstring(text.decode("ascii"), np.float64, sep=" ")[:n]
    if len(values) < n:
        raise ImageError("truncated", f"{len(values)} of {n} samples")
    return values.reshape(shape)


def _scale(values: NDArray[Any], largest: int) -> NDArray[Any]:
    """Return 8-bit samples from 0 to 255; deeper ones as they are stored."""
    if values.size and values.max() > largest:
        raise ImageError("unreadable", f"a sample of {values.max():.0f}, above {largest}")
    if largest > 255:
        return values.astype(np.uint16)
    if largest == 255:
        return values.astype(np.uint8)
    return np.rint(values * (255 / largest)).astype(np.uint8)
