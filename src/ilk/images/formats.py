"""Detect the image format of a file from its first bytes.

Pillow's format classes are called directly rather than through `Image.open`: file names are
ignored, unsupported formats cannot be reached, and Pillow's global pixel limit is left alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Lock
from typing import BinaryIO, cast

from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from ilk.images.refused import ImageError
from ilk.images.truncation import MIN_BYTES, PNG_SIGNATURE, get_size, is_truncated

MAX_PIXELS = 128_000_000  # the largest cameras give 102 to 151 million; 128 million are 384 MB
MAX_SIDE = 65_535  # pixels, as in JPEG: resizing a longer line costs gigabytes
SIGNATURE_BYTES = 32  # bytes that identify a format
_READERS: dict[bytes, Callable[[BinaryIO], ImageFile]] = {
    b"\xff\xd8\xff": cast("Callable[[BinaryIO], ImageFile]", JpegImageFile),
    PNG_SIGNATURE: PngImageFile,
    b"GIF87a": GifImageFile,
    b"GIF89a": GifImageFile,
    b"BM": BmpImageFile,
    b"II*\0": TiffImageFile,
    b"MM\0*": TiffImageFile,
    b"II+\0": TiffImageFile,
    b"MM\0+": TiffImageFile,
}
_UNSUPPORTED = (  # image formats that are not supported: offset, bytes, name
    (4, b"ftyphei", "HEIC"),
    (4, b"ftyphev", "HEIC"),
    (4, b"ftypmif1", "HEIC"),
    (4, b"ftypmsf1", "HEIC"),
    (4, b"ftypavi", "AVIF"),
    (4, b"JXL ", "JPEG XL"),
    (0, b"\xff\x0a", "JPEG XL"),
    (4, b"jP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"8BPS", "a Photoshop document"),
    (0, b"\x00\x00\x01\x00", "an icon"),
)


def read_header(source: BinaryIO, max_pixels: int = MAX_PIXELS) -> ImageFile:
    """Return the image in `source` with its size and mode read and no pixel decoded.

    Raises:
        ImageError: The file is empty, not an image, too large, truncated or unreadable.
    """
    source.seek(0)
    head = source.read(SIGNATURE_BYTES)
    opener = _find_reader(head)
    source.seek(0)
    try:
        image = opener(source)
    except Exception as error:
        raise to_image_error(source, error) from error
    check_size(*image.size, max_pixels)
    return image


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise ImageError if an image has no pixel, or more than `max_pixels`."""
    if width * height > max_pixels:
        raise ImageError("too large", f"{width} × {height} pixels; {max_pixels:,} are allowed")
    if max(width, height) > MAX_SIDE:
        raise ImageError(
            "too large", f"{width} × {height} pixels; a side may have {MAX_SIDE:,} pixels"
        )
    if width * height == 0:
        raise ImageError("unreadable", f"{width} × {height} pixels")


def _find_reader(head: bytes) -> Callable[[BinaryIO], ImageFile]:
    if not head:
        raise ImageError("empty", "0 bytes")
    for magic, opener in _READERS.items():
        if head.startswith(magic):
            return opener
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return WebPImageFile
    for start, magic, name in _UNSUPPORTED:
        if head[start:].startswith(magic):
            raise ImageError(
                "unreadable", f"{name}, which is not supported; convert it to JPEG or PNG"
            )
    if len(head) < MIN_BYTES and any(m.startswith(head[:4]) for m in (*_READERS, b"RIFF")):
        raise ImageError("truncated", f"{len(head)} bytes")
    raise ImageError("not an image", f"begins with {head[:8]!r}")


def to_image_error(source: BinaryIO | None, error: Exception) -> ImageError:
    """Translate an error of Pillow into an `ImageError`; `source` is None for pixels in memory."""
    if isinstance(error, ImageError):
        return error
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return ImageError("too large", "beyond what Pillow opens")
    if isinstance(error, MemoryError):
        return ImageError("too large", "more than this machine's memory", is_permanent=False)
    if isinstance(error, OSError) and error.errno is not None:
        return ImageError("unreadable", error.strerror or str(error), is_permanent=False)
    message = " ".join(str(error).split()) or type(error).__name__
    if source is not None and ("truncat" in message.casefold() or is_truncated(source)):
        return ImageError("truncated", f"it ends after {get_size(source)} bytes")
    return ImageError("unreadable", f"corrupt, or of an unsupported kind ({message})")


_saved_filters: list[AbstractContextManager[object]] = []
_mute_lock, _mute_count = Lock(), 0


@contextmanager
def mute_pillow_warnings() -> Iterator[None]:
    """Silence Pillow's warnings about unusual metadata, in any number of threads.

    Warning filters are global to the process: the first to enter sets them, the last to leave
    restores them.
    """
    global _mute_count
    with _mute_lock:
        if _mute_count == 0:
            filters = warnings.catch_warnings()
            filters.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
            _saved_filters.append(filters)
        _mute_count += 1
    try:
        yield
    finally:
        with _mute_lock:
            _mute_count -= 1
            if _mute_count == 0:
                _saved_filters.pop().__exit__(None, None, None)
