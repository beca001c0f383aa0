"""Detect the image format of a file from its first bytes; see `ilk.images.readers` for others.

Pillow's format classes are called directly rather than through `Image.open`: file names are
ignored, unsupported formats cannot be reached, and Pillow's global pixel limit is left alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from threading import Lock
from types import ModuleType
from typing import BinaryIO, cast

from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from ilk.core.registry import find_modules
from ilk.images.decoding.array_image import ArrayImage
from ilk.images.decoding.truncation import MIN_BYTES, PNG_SIGNATURE, get_size, is_truncated
from ilk.images.decoding.unsupported import refuse_unsupported
from ilk.images.rows.refused import ImageError, describe_start

MAX_PIXELS = 128_000_000  # the largest cameras give 102 to 151 million; 128 million are 384 MB
MAX_SIDE = 65_535  # pixels, as in JPEG: resizing a longer line costs gigabytes
SIGNATURE_BYTES = 1024  # bytes that identify a format
_READERS: dict[bytes, Callable[[BinaryIO], ImageFile]] = {
    b"\xff\xd8\xff": cast("Callable[[BinaryIO], ImageFile]", JpegImageFile),
    PNG_SIGNATURE: PngImageFile,
    b"GIF87a": GifImageFile,
    b"GIF89a": GifImageFile,
    b"BM": BmpImageFile,
}
AnyImage = ImageFile | ArrayImage
_SHORT_SIGNATURES = (*_READERS, b"RIFF", b"II*\0", b"MM\0*")


def read_header(source: BinaryIO, max_pixels: int = MAX_PIXELS, page: int = 0) -> AnyImage:
    """Return the image in `source` with its size and mode read and no pixel decoded.

    Args:
        source: An open file.
        max_pixels: Width × height above which it is refused.
        page: Page or frame, counted from 1; 0 is the image that the file stands for.

    Raises:
        ImageError: The file is empty, not an image, too large, truncated or unreadable.
    """
    source.seek(0)
    head = source.read(SIGNATURE_BYTES)
    try:
        image = _open_image(head, source, max_pixels, page)
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


def _open_image(head: bytes, source: BinaryIO, max_pixels: int, page: int) -> AnyImage:
    if not head:
        raise ImageError("empty", "0 bytes")
    opener = next((_READERS[magic] for magic in _READERS if head.startswith(magic)), None)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        opener = WebPImageFile
    source.seek(0)
    if opener is not None:
        image = opener(source)
        if page > 1:
            check_size(*image.size, max_pixels)  # because a frame is drawn on those before it
            image.seek(page - 1)
        return image
    for reader in _load_readers():
        if reader.matches(head):
            return cast(AnyImage, reader.open_image(source, page))
    refuse_unsupported(head)
    if len(head) < MIN_BYTES and any(m.startswith(head[:4]) for m in _SHORT_SIGNATURES):
        raise ImageError("truncated", f"{len(head)} bytes")
    raise ImageError("not an image", describe_start(head))


@lru_cache(maxsize=1)
def _load_readers() -> tuple[ModuleType, ...]:
    """Return the files of `ilk.images.readers` that are readers."""
    modules = find_modules("ilk.images.readers").values()
    return tuple(module for module in modules if hasattr(module, "matches"))


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
            warnings.filterwarnings("ignore", module=r"(PIL|pydicom|pillow_heif)\b")
            _saved_filters.append(filters)
        _mute_count += 1
    try:
        yield
    finally:
        with _mute_lock:
            _mute_count -= 1
            if _mute_count == 0:
                _saved_filters.pop().__exit__(None, None, None)
