"""HEIC and HEIF, the photos of phones, by pillow-heif (libheif), upright."""

from __future__ import annotations

from typing import Any, BinaryIO, cast

from PIL.ImageFile import ImageFile

from ilk.images.decoding.array_image import require
from ilk.images.decoding.iso_media import check_boxes, list_brands

BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
GENERAL_BRANDS = {b"mif1", b"msf1", b"mif2", b"heif"}
OTHER_BRANDS = {b"avif", b"avis", b"crx "}


def matches(head: bytes) -> bool:
    """Whether a file begins like a HEIC or HEIF file."""
    brands = list_brands(head)
    return bool(brands & BRANDS or (brands & GENERAL_BRANDS and not brands & OTHER_BRANDS))


def open_image(source: BinaryIO, page: int) -> ImageFile:
    """Return the primary image, or a page: the primary image is the first.

    Raises:
        ImageError: pillow-heif is not installed, or the file is truncated.
    """
    pillow_heif = require("pillow_heif", "pillow-heif", "a HEIC image", "heic")
    check_boxes(source)
    source.seek(0)
    image: Any = pillow_heif.HeifImageFile(source)
    image.n_pages = n = int(image.n_frames)
    if page > 1:
        primary = image.tell()
        image.seek([i for i in range(n) if i != primary][page - 2])
    return cast(ImageFile, image)
