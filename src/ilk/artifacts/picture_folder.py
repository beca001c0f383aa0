"""Folders of pictures that ilk writes, one per image, with a page: maps, and explanations."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

from PIL import Image

from ilk.artifacts.output_files import check_outside_sources
from ilk.core.atomic_write import write_atomically
from ilk.core.errors import OutputError
from ilk.images import escape_path

PAGE = "index.html"


def create_picture_folder(folder: Path, mark: str, option: str) -> None:
    """Create a folder, with the file `mark` by which ilk knows it as its own.

    Args:
        folder: The folder.
        mark: Name of the file.
        option: Option of the command that names the folder, for the message.

    Raises:
        OutputError: It cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / mark).touch()
    except OSError as error:
        raise OutputError(
            f"cannot write the folder {escape_path(folder)}: {error.strerror or error}; "
            f"name another one with {option}"
        ) from error


def check_picture_folder(
    folder: Path, sources: Iterable[str], mark: str, option: str, content: str
) -> Path:
    """Return `folder` if pictures can be written there and nothing of the user's is lost.

    Args:
        folder: The folder.
        sources: What the command reads.
        mark: Name of the file by which ilk knows it as its own.
        option: Option of the command that names the folder, for the message.
        content: What ilk writes there, in the plural, for the message.

    Raises:
        OutputError: It holds other things, is a file, or lies among the images.
    """
    check_outside_sources(folder, list(sources))
    is_used = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    if is_used and not (folder / mark).is_file():
        raise OutputError(
            f"{escape_path(folder)} exists and holds no {content} of ilk; name another folder "
            f"with {option}, such as one that does not exist yet"
        )
    return folder


def write_picture(folder: Path, number: int, path: str, picture: Image.Image) -> str:
    """Write a picture of the image at `path`, and return the name of its file.

    Raises:
        OutputError: It cannot be written.
    """
    name = f"{number:05d}_{_make_stem(path)}.png"
    buffer = BytesIO()
    picture.save(buffer, "png")
    write_atomically(folder / name, buffer.getvalue())
    return name


def _make_stem(path: str) -> str:
    """Return the end of a path as a name for a file on any system."""
    stem = os.path.splitext(os.path.basename(path))[0]
    return re.sub(r"[^\w.-]+", "_", stem.encode("ascii", "replace").decode())[:60] or "image"
