"""Read files that must be regular: opening a named pipe or a device may block for ever."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read_regular_file(path: Path) -> bytes:
    """Return the content of a file.

    Raises:
        OSError: It cannot be read, or is a folder, a named pipe, a socket or a device.
    """
    check_regular_file(path)
    return path.read_bytes()


def check_regular_file(path: Path) -> None:
    """Raise OSError if `path` is missing, or a folder, a named pipe, a socket or a device."""
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
