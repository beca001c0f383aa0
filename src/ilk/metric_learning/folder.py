"""The folder that an embedding is written to."""

from __future__ import annotations

from pathlib import Path

from ilk.core.errors import OutputError
from ilk.encoders.tuned_files import check_is_no_part
from ilk.encoders.tuned_folder import DESCRIPTION, FORMAT, WEIGHTS
from ilk.images.sources.ilk_folders import read_format
from ilk.metric_learning.ledger import NAME


def check_tuned_folder(folder: Path) -> Path:
    """Return `folder` if an embedding can be written there: it is new, empty, or holds another one.

    Raises:
        OutputError: It holds other files, or cannot be read.
    """
    try:
        names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    except OSError as error:
        raise OutputError(
            f"cannot write to {folder}: {error.strerror}; choose another folder with --out"
        ) from error
    strangers = {n for n in names - {DESCRIPTION, WEIGHTS, NAME} if not _is_leftover(n)}
    is_tuned = read_format(folder / DESCRIPTION, unreadable=FORMAT) == FORMAT
    if (strangers or names & {DESCRIPTION, WEIGHTS}) and not is_tuned:
        raise OutputError(
            f"{folder} contains files that are no learned embedding; choose an empty folder with "
            "--out"
        )
    check_is_no_part(folder)
    return folder


def _is_leftover(name: str) -> bool:
    return name.startswith(".ilk.") or name.endswith((".part", ".ilk-new"))
