"""Camera raw files (CR2, CR3, NEF, ARW, DNG, RAF, ORF, RW2 …), developed by LibRaw.

Developed without automatic brightness, so that a darker photo stays darker, with the camera's
white balance, in sRGB. `ilk.images.readers.tiff` hands on those that begin like a TIFF file.
"""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ilk.images.decoding.array_image import ArrayImage, require
from ilk.images.decoding.formats import MAX_PIXELS, check_size
from ilk.images.rows.refused import ImageError

SIGNATURES = (
    b"FUJIFILMCCD-RAW",
    b"IIRO",  # Olympus
    b"IIRS",
    b"MMOR",
    b"IIU\0",  # Panasonic
    b"FOVb",  # Sigma
    b"\0MRM",  # Minolta
    b"II\x1a\0\0\0HEAPCCDR",  # Canon CRW
)
TURNED = {5, 6}  # LibRaw's flips that exchange width and height


def matches(head: bytes) -> bool:
    """Whether a file begins like a camera raw file that is no TIFF file."""
    return head.startswith(SIGNATURES) or head[4:12] == b"ftypcrx "


def open_image(source: BinaryIO, page: int) -> ArrayImage:
    """Return the image with its header read, upright.

    Raises:
        ImageError: rawpy is not installed, or LibRaw does not know the file.
    """
    rawpy = require("rawpy", "rawpy", "a camera raw file", "raw")
    width, height = _call(lambda: _read_sizes(rawpy, source))
    check_size(width, height, MAX_PIXELS)
    return ArrayImage((width, height), "RGB", "RAW", lambda: _call(lambda: _develop(rawpy, source)))


def _call(action: Any) -> Any:
    """Call LibRaw, and say in one sentence what went wrong."""
    try:
        return action()
    except ImageError:
        raise
    except MemoryError:
        raise
    except Exception as error:
        message = error.args[0] if error.args else type(error).__name__
        if isinstance(message, bytes):
            message = message.decode("latin-1")
        reason = "truncated" if "i/o" in str(message).casefold() else "unreadable"
        raise ImageError(
            reason,
            f"a camera raw file that LibRaw cannot read ({message}); export it as JPEG or TIFF",
        ) from None


def _read_sizes(rawpy: Any, source: BinaryIO) -> tuple[int, int]:
    source.seek(0)
    with rawpy.imread(source) as file:
        sizes = file.sizes
        size = (int(sizes.iwidth), int(sizes.iheight))
        return size[::-1] if sizes.flip in TURNED else size


def _develop(rawpy: Any, source: BinaryIO) -> NDArray[np.uint8]:
    source.seek(0)
    with rawpy.imread(source) as file:
        pixels = file.postprocess(use_camera_wb=True, no_auto_bright=True, output_bps=8)
    return np.ascontiguousarray(pixels, np.uint8)
