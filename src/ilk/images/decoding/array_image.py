"""`ArrayImage`: an image whose reader gives its samples as an array, and optional libraries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from numpy.typing import NDArray

from ilk.images.rows.refused import ImageError


@dataclass(frozen=True)
class ArrayImage:
    """An image whose header is read, and whose samples `read` returns.

    Attributes:
        size: Width and height in pixels.
        mode: Pillow's mode, with ";16" appended for colour of more than 8 bits.
        format: Name of the format.
        read: Returns the samples `[h, w]` or `[h, w, 3]`: uint8, or of more bits to be scaled.
        stated_range: Samples that are black and white according to the file; None if it does not
            say, or if the samples are uint8.
        is_inverted: Whether small samples are white.
        n_pages: Number of pages in the file.
    """

    size: tuple[int, int]
    mode: str
    format: str
    read: Callable[[], NDArray[Any]]
    stated_range: tuple[float, float] | None = None
    is_inverted: bool = False
    n_pages: int = 1


def require(module: str, package: str, format_name: str, extra: str) -> Any:
    """Import a library that only one format needs.

    Args:
        module: Dotted name of the module.
        package: Name to install.
        format_name: Format, with its article, for the message.
        extra: The extra of ilk that installs it.

    Raises:
        ImageError: It is not installed; the message says how to read the file.
    """
    try:
        return import_module(module)
    except ImportError:
        raise ImageError(
            "unreadable",
            f"{format_name}; to read it, pip install {package} (or 'ilk[{extra}]'), or convert it "
            "to PNG or JPEG",
            is_permanent=False,
        ) from None
