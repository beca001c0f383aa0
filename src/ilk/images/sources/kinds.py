"""What kind of source a path is: a folder, a table, a list, an archive, a pattern or an image."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Literal

from ilk.core.errors import InputError
from ilk.core.regular_file import check_regular_file
from ilk.images.rows import escape_path
from ilk.images.rows.addresses import is_address
from ilk.images.rows.archive_names import is_archive
from ilk.images.sources import standard_input
from ilk.images.sources.globs import is_glob
from ilk.images.tables.read import LIST_SUFFIXES, TABLE_SUFFIXES

Path = str | os.PathLike[str]
Kind = Literal[
    "folder", "table", "list", "archive", "glob", "bucket", "standard input", "file", "missing"
]
SINGLE_KINDS: tuple[Kind, ...] = ("file", "missing")  # of sources that stand for themselves


def find_kind(source: Path) -> Kind:
    """Return what a source is; only its name and its type of file are looked at."""
    path = os.fsdecode(source)
    if path == standard_input.NAME:
        return "standard input"
    if os.path.isdir(path):
        return "folder"
    if is_address(path):
        return "bucket"
    if is_glob(path):
        return "glob"
    if not (suffix_kind := find_kind_of_suffix(path)):
        return "file" if os.path.lexists(path) else "missing"
    return suffix_kind


def find_kind_of_suffix(path: str) -> Kind | None:
    """Return "table", "list" or "archive" if the suffix of a path says so, else None."""
    suffix = os.path.splitext(path)[1].casefold()
    if suffix in TABLE_SUFFIXES:
        return "table"
    if suffix in LIST_SUFFIXES:
        return "list"
    return "archive" if is_archive(path) else None


def is_one_image(source: Path) -> bool:
    """Whether a source stands for itself: a file, also one that is missing."""
    return find_kind(source) in SINGLE_KINDS


def find_several(values: Sequence[object]) -> list[Kind]:
    """Return the kind of each item of a list, "file" if not a path; [] if all are one image."""
    paths = [value for value in values if isinstance(value, str | os.PathLike)]
    kinds = drop_stray(paths, [find_kind(path) for path in paths])
    found: list[Kind] = [
        next(kinds) if isinstance(value, str | os.PathLike) else "file" for value in values
    ]
    return found if set(found) - set(SINGLE_KINDS) else []


def drop_stray(sources: Sequence[Path], kinds: Sequence[Kind]) -> Iterator[Kind]:
    """Yield the kinds, with `file` for tables, lists and archives beside single images."""
    pairs = list(zip(map(os.fsdecode, sources), kinds, strict=True))
    folders = {os.path.dirname(path) for path, kind in pairs if kind == "file"}
    for path, kind in pairs:
        is_stray = kind in ("table", "list", "archive") and os.path.dirname(path) in folders
        yield "file" if is_stray else kind


def check_regular(file: pathlib.Path) -> pathlib.Path:
    """Return `file` if it is not a named pipe or device, which may be read for ever.

    Raises:
        InputError: It is.
    """
    try:
        check_regular_file(file)
    except OSError:
        raise InputError(
            f"{escape_path(file)} is not a regular file; save it as one, or give paths on standard "
            "input with -"
        ) from None
    return file


def make_missing_error(source: Path, what: str = "folder or file") -> InputError:
    """Return the error for a source that does not exist."""
    return InputError(
        f"there is no {what} {escape_path(source)} (working directory: {escape_path(os.getcwd())})"
    )
