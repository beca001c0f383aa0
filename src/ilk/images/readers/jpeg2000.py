"""JPEG 2000, if Pillow was built with OpenJPEG, which its wheels are."""

from __future__ import annotations

from typing import BinaryIO, cast

from PIL import features
from PIL.ImageFile import ImageFile

from ilk.images.rows.refused import ImageError

CODESTREAM, BOXES = b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  \r\n\x87\n"
END = b"\xff\xd9"


def matches(head: bytes) -> bool:
    """Whether a file begins like a JPEG 2000 file or codestream."""
    return head.startswith((CODESTREAM, BOXES))


def open_image(source: BinaryIO, page: int) -> ImageFile:
    """Return the image with its header read.

    Raises:
        ImageError: This Pillow does not read JPEG 2000, or the file lacks its end.
    """
    if not features.check("jpg_2000"):
        raise ImageError(
            "unreadable",
            "a JPEG 2000 image, which this Pillow cannot read; convert it to PNG or JPEG",
            is_permanent=False,
        )
    from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile

    size = source.seek(0, 2)
    source.seek(0)
    if END not in source.read()[-(2**16) :]:
        raise ImageError("truncated", f"a JPEG 2000 without its end, in {size} bytes")
    source.seek(0)
    return cast(ImageFile, Jpeg2KImageFile(source))
