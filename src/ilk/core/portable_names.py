"""Names of files and folders that every system takes."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import PurePosixPath

UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
RESERVED = re.compile(r"con|prn|aux|nul|conin\$|conout\$|(com|lpt)[\d¹²³]", re.IGNORECASE)
MAX_NAME_BYTES = 180  # of a file or folder; systems take 255, some of which a writer adds


def name_folders(classes: Sequence[str]) -> dict[str, str]:
    """Return a safe and unique folder name for each class, on every system.

    >>> name_folders(["cat", "Cat", "a/b", "con", ".."])
    {'cat': 'cat', 'Cat': 'Cat-2', 'a/b': 'a_b', 'con': 'con_', '..': '_'}
    """
    safe = [_make_portable(name) for name in classes]
    return dict(zip(classes, make_unique(safe), strict=True))


def name_file(path: str) -> str:
    """Return the name of the file at a path with `/`, as one that every system takes."""
    name = PurePosixPath(UNSAFE.sub("_", path.rsplit("/", 1)[-1]))
    return f"{_make_portable(name.stem)}{name.suffix if len(name.suffix) < 20 else ''}"


def make_unique(names: Sequence[str]) -> list[str]:
    """Return names that differ even when case is ignored, such as `a.png` and `a-2.png`.

    Args:
        names: Names of files, or paths with `/`, whose folders are kept.
    """
    used: set[str] = set()
    last: dict[str, int] = {}  # number that a name got last
    result = []
    for name in names:
        path, candidate = PurePosixPath(name), name
        number = last.get(name.casefold(), 1)
        while candidate.casefold() in used:
            number += 1
            candidate = str(path.with_name(f"{path.stem}-{number}{path.suffix}"))
        last[name.casefold()] = number
        used.add(candidate.casefold())
        result.append(candidate)
    return result


def _make_portable(name: str) -> str:
    """Return a name that every system takes, with room for a number and for an ending."""
    text = UNSAFE.sub("_", name.strip()).strip(" .")
    while len(os.fsencode(text)) > MAX_NAME_BYTES:
        text = text[:-1].rstrip(" .")
    stem, dot, rest = text.partition(".")
    return f"{stem}_{dot}{rest}" if RESERVED.fullmatch(stem.rstrip()) else text or "_"
