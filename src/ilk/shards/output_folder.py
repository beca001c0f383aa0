"""Check that a new shard folder loses nothing of the user's."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ilk.core.errors import OutputError
from ilk.images.rows import escape_path
from ilk.shards.spaces import FEATURES, SPACE_FILE

TEMPORARY = re.compile(r"\..*")  # what ilk writes before it has its name


def check_new_folder(folder: Path) -> None:
    """Raise OutputError if a folder without a manifest holds something else than features."""
    if not folder.is_dir():
        return
    try:
        names = sorted(name for name in os.listdir(folder) if not TEMPORARY.fullmatch(name))
        strangers = [name for name in names if name != FEATURES]
        if not strangers and names:
            spaces = [path for path in (folder / FEATURES).iterdir() if path.name[0] != "."]
            strangers = [FEATURES for path in spaces if not (path / SPACE_FILE).is_file()]
    except OSError as error:
        raise OutputError(
            f"cannot write to {escape_path(folder)}: {error.strerror or error}; choose another "
            "folder with --out"
        ) from error
    if strangers:
        raise OutputError(
            f"{escape_path(folder)} holds {escape_path(strangers[0])}, and is not a shard folder; "
            "name a new folder with --out"
        )
