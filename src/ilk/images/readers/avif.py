"""AVIF, if Pillow was built with it, which its wheels are since version 11.3."""

from __future__ import annotations

from typing import Any, BinaryIO, cast

from PIL import features
from PIL.ImageFile import ImageFile

from ilk.images.decoding.iso_media import check_boxes, list_brands
from ilk.images.rows.refused import ImageError

BRANDS = {b"avif", b"avis"}


def matches(head: bytes) -> bool:
    """Whether a file begins like an AVIF file."""
    return bool(list_brands(head) & BRANDS)


def open_image(source: BinaryIO, page: int) -> ImageFile:
    """Return the image with its header read.

    Raises:
        ImageError: This Pillow does not read AVIF, or the file is truncated.
    """
    if "avif" not in features.modules or not features.check("avif"):
        raise ImageError(
            "unreadable",
            "an AVIF image, which this Pillow cannot read; pip install -U pillow, or convert it to "
            "PNG or JPEG",
            is_permanent=False,
        )
    from PIL.AvifImagePlugin import AvifImageFile

    check_boxes(source)
    source.seek(0)
    image: Any = AvifImageFile(source)
    if page > 1:
        image.seek(page - 1)
    return cast(ImageFile, image)
