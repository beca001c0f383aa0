"""Pictures inside the page: small, few, and never missing without a word."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from ilk.report.words import name_of

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 128  # px: sharp at the size it is shown; 5 kB as JPEG, and 15 kB were it pure noise
SMALL = 48  # px: such an image is kept exactly, as PNG, and enlarged in squares
QUALITY = 82  # of JPEG


@dataclass(frozen=True)
class Picture:
    """One image and what is said of it.

    Attributes:
        name: The file, as it is shown.
        says: What the caption says, the first line first.
        source: A data URI, or "" where the file could not be read.
        crisp: Whether it is so small that its pixels should be seen.
        missing: Why there is no picture ("" if there is one).
    """

    name: str
    says: tuple[str, ...]
    source: str
    crisp: bool
    missing: str

    @property
    def alt(self) -> str:
        return f"{self.name}: {', '.join(self.says)}"


def picture(file: Path, root: Path | None, *says: str) -> Picture:
    """The picture of `file`; one that cannot be read says why in its place."""
    from ilk.images import Refused, thumbnail

    name = name_of(file, root)
    try:
        small = thumbnail(file, SIDE)
        source, crisp = _data_uri(small), max(small.size) <= SMALL
    except Refused as refused:
        return Picture(name, says, "", False, refused.reason)
    except (OSError, ValueError):
        return Picture(name, says, "", False, "cannot be read any more")
    return Picture(name, says, source, crisp, "")


def drawn(image: Image, file: Path, root: Path | None, *says: str) -> Picture:
    """A picture that was made of `file`, exactly as it was made."""
    out = BytesIO()
    image.save(out, "png", optimize=True)
    source = f"data:image/png;base64,{b64encode(out.getvalue()).decode('ascii')}"
    return Picture(name_of(file, root), says, source, True, "")


def _data_uri(image: Image) -> str:
    out = BytesIO()
    kind = "png" if max(image.size) <= SMALL else "jpeg"
    image.save(out, kind, quality=QUALITY, optimize=True)
    return f"data:image/{kind};base64,{b64encode(out.getvalue()).decode('ascii')}"
