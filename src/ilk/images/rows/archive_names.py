"""The names of archives."""

from __future__ import annotations

import os

TAR_SUFFIXES = (
    *(".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz"),
    *(".tar.zst", ".tzst"),
)
ARCHIVE_SUFFIXES = (".zip", *TAR_SUFFIXES)
OTHER_SUFFIXES = {".7z": "7-Zip", ".rar": "RAR", ".cab": "cabinet", ".lzh": "LHA", ".ace": "ACE"}


def is_archive(path: str | os.PathLike[str]) -> bool:
    """Whether the name of a file is that of an archive, also of one that cannot be read."""
    name = os.fspath(path).casefold()
    return name.endswith((*ARCHIVE_SUFFIXES, *OTHER_SUFFIXES))
