"""Which image format a file is in, judged by its first bytes.

Pillow's format classes are called directly rather than through `Image.open`: names do not count,
formats that nobody asked for are no way in, and Pillow's own pixel limit, a global, is left alone.
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

from ilk.images.refused import Refused
from ilk.images.whole import PNG, SHORTEST, cut, length

MAX_PIXELS = 128_000_000  # the largest cameras give 102 to 151 million; 128 million are 384 MB
HEAD = 32  # bytes that tell a format
_READ: dict[bytes, Callable[[BinaryIO], ImageFile]] = {
    b"\xff\xd8\xff": cast("Callable[[BinaryIO], ImageFile]", JpegImageFile),
    PNG: PngImageFile,
    b"GIF87a": GifImageFile,
    b"GIF89a": GifImageFile,
    b"BM": BmpImageFile,
    b"II*\0": TiffImageFile,
    b"MM\0*": TiffImageFile,
    b"II+\0": TiffImageFile,
    b"MM\0+": TiffImageFile,
}
_FOREIGN = (  # images, but of formats that are not read: offset, bytes, name
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


def header(source: BinaryIO, max_pixels: int = MAX_PIXELS) -> ImageFile:
    """The image in `source` with its size and mode read, and no pixel decoded.

    Raises:
        Refused: empty, not an image, too large, truncated or unreadable.
    """
    source.seek(0)
    head = source.read(HEAD)
    opener = _opener(head)
    source.seek(0)
    try:
        image = opener(source)
    except Exception as error:
        raise damage(source, error) from error
    width, height = image.size
    if width * height > max_pixels:
        raise Refused("too large", f"{width} × {height} pixels; {max_pixels:,} are allowed")
    if width * height == 0:
        raise Refused("unreadable", f"{width} × {height} pixels")
    return image


def _opener(head: bytes) -> Callable[[BinaryIO], ImageFile]:
    if not head:
        raise Refused("empty", "0 bytes")
    for magic, opener in _READ.items():
        if head.startswith(magic):
            return opener
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return WebPImageFile
    for start, magic, name in _FOREIGN:
        if head[start:].startswith(magic):
            raise Refused("unreadable", f"{name}, which is not read; convert it to JPEG or PNG")
    if len(head) < SHORTEST and any(m.startswith(head[:4]) for m in (*_READ, b"RIFF")):
        raise Refused("truncated", f"{len(head)} bytes")
    raise Refused("not an image", f"begins with {head[:8]!r}")


def damage(source: BinaryIO, error: Exception) -> Refused:
    """What an error of Pillow's says of the file."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return Refused("too large", "beyond what Pillow opens")
    if isinstance(error, MemoryError):
        return Refused("too large", "more than this machine's memory", lasting=False)
    if isinstance(error, OSError) and error.errno is not None:
        return Refused("unreadable", error.strerror or str(error), lasting=False)
    why = " ".join(str(error).split()) or type(error).__name__
    if "truncat" in why.casefold() or cut(source):
        return Refused("truncated", f"it ends after {length(source)} bytes")
    return Refused("unreadable", f"damaged, or of a kind that is not read ({why})")


_mute: list[AbstractContextManager[object]] = []
_muting, _muters = Lock(), 0


@contextmanager
def quiet() -> Iterator[None]:
    """Mute Pillow's remarks on odd metadata, in any number of threads.

    Warning filters belong to the process: the first to come sets them, the last to go restores.
    """
    global _muters
    with _muting:
        if _muters == 0:
            filters = warnings.catch_warnings()
            filters.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
            _mute.append(filters)
        _muters += 1
    try:
        yield
    finally:
        with _muting:
            _muters -= 1
            if _muters == 0:
                _mute.pop().__exit__(None, None, None)
