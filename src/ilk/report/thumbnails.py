"""Embed small images in the page as data URIs."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from ilk.report.formatting import format_file_name

if TYPE_CHECKING:
    from PIL.Image import Image

    from ilk.images import Content, Images

THUMBNAIL_SIDE = 128  # px; about 5 kB as JPEG, at most 15 kB
MAX_PIXELATED_SIDE = 48  # px; smaller images are stored as PNG and enlarged without smoothing
JPEG_QUALITY = 82


@dataclass(frozen=True)
class Thumbnail:
    """An image with its caption.

    Attributes:
        name: File name for display.
        captions: Lines of the caption.
        data_uri: The image as a data URI, or "" if the file cannot be read.
        is_pixelated: Whether to enlarge the image without smoothing.
        error: Why the file cannot be read, or "".
    """

    name: str
    captions: tuple[str, ...]
    data_uri: str
    is_pixelated: bool
    error: str

    @property
    def alt_text(self) -> str:
        """Text for screen readers."""
        return f"{self.name}: {', '.join(self.captions)}"


def make_thumbnail(
    file: Path, root: Path | None, *captions: str, content: Content | None = None
) -> Thumbnail:
    """Return a thumbnail of `file`, or the reason why it cannot be read.

    Args:
        file: The file; for an image in memory, the path of its row.
        root: Folder of the images, which is left out of the name.
        captions: Lines of the caption.
        content: The image if it is in memory: bytes, a Pillow image, or an array `[h, w]` or `[h,
            w, c]`.
    """
    from ilk.images import ImageError, decode_thumbnail

    name = format_file_name(file, root)
    try:
        image = decode_thumbnail(file if content is None else content, THUMBNAIL_SIDE)
        data_uri = _encode_data_uri(image)
    except ImageError as error:
        return Thumbnail(name, captions, "", False, error.reason)
    except (OSError, ValueError):
        return Thumbnail(name, captions, "", False, "cannot be read")
    is_pixelated = max(image.size) <= MAX_PIXELATED_SIDE
    return Thumbnail(name, captions, data_uri, is_pixelated, "")


def show_image(images: Images, file: Path, *captions: str) -> Thumbnail:
    """Return a thumbnail of the image whose row is shown as `file`, read as its row says.

    Args:
        images: The images, of which it is one.
        file: Its path, as `Images.shown_path_of` returns it.
        captions: Lines of the caption.
    """
    from ilk.images.display import find_picture

    return make_thumbnail(file, images.root, *captions, content=find_picture(images, file))


def embed_image(image: Image, file: Path, root: Path | None, *captions: str) -> Thumbnail:
    """Return `image`, which was derived from `file`, as a thumbnail without loss."""
    out = BytesIO()
    image.save(out, "png", optimize=True)
    source = f"data:image/png;base64,{b64encode(out.getvalue()).decode('ascii')}"
    return Thumbnail(format_file_name(file, root), captions, source, True, "")


def _encode_data_uri(image: Image) -> str:
    out = BytesIO()
    kind = "png" if max(image.size) <= MAX_PIXELATED_SIDE else "jpeg"
    image.save(out, kind, quality=JPEG_QUALITY, optimize=True)
    return f"data:image/{kind};base64,{b64encode(out.getvalue()).decode('ascii')}"
