"""Paths from standard input, as `find` prints them."""

from __future__ import annotations

import os
import sys

from ilk.core.errors import InputError, NoImages

NAME = "-"  # stands for standard input among the sources
EXAMPLE = "find photos -name '*.jpg' -print0 | ilk predict model/ -"


def read_paths() -> list[str]:
    """Return the paths that standard input lists, separated by NUL if there is one, else by line.

    Raises:
        InputError: It is a terminal, closed, or cannot be read.
        NoImages: It lists nothing.
    """
    stream = sys.stdin
    if stream is None or stream.closed:
        raise InputError(
            f"- reads paths from standard input, which is closed; pipe them: {EXAMPLE}"
        )
    if stream.isatty():
        raise InputError(
            f"- reads paths from standard input, which is this terminal; pipe them: {EXAMPLE}"
        )
    try:
        data = getattr(stream, "buffer", stream).read()
    except (OSError, ValueError) as error:
        raise InputError(f"standard input cannot be read: {error}") from error
    content = data if isinstance(data, bytes) else os.fsencode(data)
    if b"\0" in content:
        items = content.split(b"\0")
    else:
        items = [line.removesuffix(b"\r") for line in content.split(b"\n")]
    paths = [os.fsdecode(item) for item in items if item.strip()]
    if not paths:
        raise NoImages(f"standard input lists no path; pipe some: {EXAMPLE}")
    return paths
