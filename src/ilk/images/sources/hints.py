"""What may be meant instead of a folder: the folder in it, or the table beside the images."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from pathlib import Path

from ilk.core.errors import IlkError
from ilk.images.annotations.splits import METADATA_FILES, UNLABELLED_FOLDERS
from ilk.images.rows import Row
from ilk.images.tables.files import TABLE_SUFFIXES
from ilk.images.tables.read import read_table
from ilk.images.tables.requested_columns import Columns

MAX_TABLES = 3  # tables that are tried
MAX_BYTES = 50_000_000  # of a table that is tried
MAX_FOLDERS = 50  # folders in which a missing file is looked for
SUFFIXES = ("", ".jpg", ".jpeg", ".png", ".webp", ".tif", ".JPG")  # tables often leave them out
MIN_SHARE = 0.5  # of the lines of a table that must name a file that is there


def find_better_source(root: Path, rows: Sequence[Row]) -> str:
    """Return the folder or table below `root` that was probably meant, or "".

    - All images lie in one folder, in which there are several folders: that one.
    - A table of paths and labels lies beside the images: the table.

    Args:
        root: The folder that was read.
        rows: Its files.
    """
    used = [row for row in rows if row.status == "used"]
    wrapper = _find_wrapper(used)
    for row in [r for r in rows if _may_be_table(r, wrapper)][:MAX_TABLES]:
        if _lists_images(root / row.path):
            return str(root / row.path)
    is_one_class = len({row.label for row in used if row.label is not None}) < 2
    if not wrapper or not is_one_class:
        return ""
    inside = {_parts(row, wrapper)[0] for row in used if len(_parts(row, wrapper)) > 1}
    metadata = {posixpath.join(wrapper, name) for name in METADATA_FILES}
    has_table = any(row.path in metadata for row in rows)
    return str(root / wrapper) if has_table or len(inside) > 1 else ""


def find_missing(root: Path, path: str) -> str:
    """Return where a file that a table lists is instead, relative to `root`, or "".

    It is looked for in the folders of `root`, and with a usual suffix.

    Args:
        root: The folder of the table.
        path: The path in the table, relative to `root`.
    """
    try:
        with os.scandir(root) as entries:
            folders = sorted(entry.name for entry in entries if entry.is_dir())[:MAX_FOLDERS]
    except OSError:
        return ""
    for folder in ("", *folders):
        for name in dict.fromkeys((path, posixpath.basename(path))):
            for suffix in SUFFIXES:
                candidate = posixpath.join(folder, name + suffix)
                if os.path.isfile(root / candidate):
                    return candidate
    return ""


def _find_wrapper(used: Sequence[Row]) -> str:
    """Return the folder that holds all images and more than one folder or file, or ""."""
    wrapper = ""
    while used:
        tops = {_parts(row, wrapper)[0] if len(_parts(row, wrapper)) > 1 else "" for row in used}
        name = next(iter(tops))
        if len(tops) > 1 or not name or name.casefold() in UNLABELLED_FOLDERS:
            break
        wrapper = posixpath.join(wrapper, name)
    return wrapper


def _parts(row: Row, folder: str) -> list[str]:
    """Return the parts of a path below a folder that it lies in."""
    return row.path[len(folder) + 1 if folder else 0 :].split("/")


def _may_be_table(row: Row, wrapper: str) -> bool:
    """Whether a file is a table at the top, or in a folder around all images, that was not read."""
    folder, name = posixpath.split(row.path)
    is_above = folder == "" or f"{wrapper}/".startswith(f"{folder}/")
    return (
        row.status == "refused"
        and is_above
        and name.casefold() not in METADATA_FILES
        and posixpath.splitext(name)[1].casefold() in TABLE_SUFFIXES
    )


def _lists_images(file: Path) -> bool:
    """Whether a table has columns of paths and labels, and its files exist."""
    try:
        if file.stat().st_size > MAX_BYTES:
            return False
        rows = read_table(file, Columns(multi_label=False))
    except (IlkError, OSError):
        return False
    n_found = sum(os.path.isfile(file.parent / row.path) for row in rows[:100])
    return any(row.label for row in rows) and n_found > MIN_SHARE * len(rows[:100])
