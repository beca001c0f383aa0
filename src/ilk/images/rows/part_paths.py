"""Paths of what is not a file: a file in an archive, or a page, as the tables of ilk write them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ilk.images.rows.archive_names import is_archive

PAGE = re.compile(r"(.+)\[(\d+)\]")


def describe_part(path: str) -> str:
    """Return what a missing path is a part of and what to give instead, or "".

    Args:
        path: A path that does not exist.
    """
    for parent in Path(path).parents:
        if is_archive(parent) and parent.is_file():
            return f"it is in an archive; give {parent.name} itself, or unpack it"
    match = PAGE.fullmatch(path)
    if match and os.path.isfile(match[1]):
        name = os.path.basename(match[1])
        return f"it is page {match[2]} of a file; give {name} itself, with --pages all"
    return ""
