"""Patterns such as `photos/**/*.jpg`: which files they stand for.

`*`, `?` and `[ab]` stand for parts of one name, `**` for any number of folders. What exists under
the very name of the pattern, or of a leading part of it, is meant literally. Names that begin with
a dot match only patterns that do.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from ilk.core.errors import NoImages
from ilk.images.rows import Row, escape_path
from ilk.images.sources.walk import walk_files

MAGIC = re.compile(r"[*?\[]")
SEPARATORS = re.compile(r"[\\/]" if os.name == "nt" else "/")


def is_glob(source: str) -> bool:
    """Whether `source` is a pattern: it has `*`, `?` or `[` and does not exist under its name."""
    return bool(MAGIC.search(source)) and not os.path.lexists(source)


def list_matches(pattern: str) -> tuple[Path, list[Row]]:
    """Return the last folder before the first wildcard, and the matching files below it, sorted.

    A folder that matches stands for all files in it. Links are followed without cycles.

    Raises:
        NoImages: Nothing matches.
    """
    root, segments = split_pattern(pattern)
    rows = sorted(
        {row.path: row for row in _match(Path(root), "", segments)}.values(), key=lambda r: r.path
    )
    if not rows:
        raise NoImages(
            f"no file matches {escape_path(pattern)} (working directory: {escape_path(Path.cwd())})"
        )
    return Path(root), rows


def split_pattern(pattern: str) -> tuple[str, list[str]]:
    """Return the leading folders that are meant literally, and the parts of the pattern after them.

    >>> split_pattern("photos/*/1.jpg")
    ('photos', ['*', '1.jpg'])
    """
    parts = SEPARATORS.split(pattern)
    n = 0
    while n < len(parts) - 1:
        if MAGIC.search(parts[n]) and not os.path.isdir("/".join(parts[: n + 1])):
            break
        n += 1
    root = "/".join(parts[:n])
    segments: list[str] = []
    for part in parts[n:]:
        if part and not (part == "**" and segments[-1:] == ["**"]):
            segments.append(part)
    return root if n == 0 or root else "/", segments or ["**"]


def _match(root: Path, folder: str, segments: Sequence[str]) -> Iterator[Row]:
    """Yield one row per file below `root/folder` that matches; paths are relative to `root`."""
    head, tail = segments[0], segments[1:]
    if head == "**":
        for row in walk_files(root / folder):
            path = _join(folder, row.path)
            if row.status != "used" or _matches(row.path.split("/"), segments):
                yield Row(path, status=row.status, reason=row.reason, detail=row.detail)
        return
    try:
        names = sorted(entry.name for entry in os.scandir(root / folder))
    except OSError as error:
        if folder and not isinstance(error, NotADirectoryError):
            detail = f"this folder: {error.strerror}"
            yield Row(folder, status="refused", reason="unreadable", detail=detail)
        return
    for name in names:
        if not _matches_name(name, head):
            continue
        path = _join(folder, name)
        is_folder = os.path.isdir(root / path)
        if tail and is_folder:
            yield from _match(root, path, tail)
        elif not tail and is_folder:
            yield from _match(root, path, ["**"])
        elif not tail:
            yield Row(path)


def _matches(parts: Sequence[str], segments: Sequence[str]) -> bool:
    """Whether the parts of a path match those of a pattern, whose last may match a folder."""
    if not segments:
        return True
    if segments[0] != "**":
        return (
            bool(parts)
            and _matches_name(parts[0], segments[0])
            and _matches(parts[1:], segments[1:])
        )
    if len(segments) == 1:
        return not any(part.startswith(".") for part in parts)
    for n in range(len(parts)):
        if _matches(parts[n:], segments[1:]):
            return True
        if parts[n].startswith("."):
            return False
    return False


def _matches_name(name: str, pattern: str) -> bool:
    if name.startswith(".") and not pattern.startswith("."):
        return False
    return name == pattern or fnmatchcase(name, pattern)


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
