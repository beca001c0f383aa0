"""Check that a model can be written to a folder, before any work is done."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ilk.artifacts.model_folder import (
    CLASSIFIER,
    DESCRIPTION_FILE,
    WEIGHTS_PATTERN,
    FolderKind,
)
from ilk.core.atomic_write import write_atomically
from ilk.core.errors import OutputError
from ilk.core.folder_transaction import HOLDER_FILE, LOCK_FILE, lock_folder
from ilk.core.regular_file import read_regular_file

TEMPORARY_FILES = re.compile(r"\..*\.(part|trial)|\.ilk\.(lock|holder|commit)|.*\.ilk-new")
ILK_FILES = re.compile(rf"{WEIGHTS_PATTERN.pattern}|{TEMPORARY_FILES.pattern}")  # only ilk's
LEFTOVER_FILES = re.compile(
    rf"{ILK_FILES.pattern}|intake\.json|leaderboard\.json|suspects\.csv|report\.html"
)


@contextmanager
def hold_folder(folder: Path, check: Callable[[Path], Path], *, holder: str = "") -> Iterator[Path]:
    """Check an output folder, and hold its lock until the work is done.

    A folder that was created for the lock is removed again if nothing was written to it.

    Args:
        folder: Folder to write to.
        check: Checks the folder, such as `check_writable`; called before and under the lock.
        holder: Description of this process, for others that want to write.

    Raises:
        OutputError: By `check`, or because another process writes to the folder.
    """
    check(folder)
    absolute = Path(os.path.abspath(folder))
    missing = [path for path in (absolute, *absolute.parents) if not path.exists()]
    is_first = not (absolute / LOCK_FILE).exists()
    with lock_folder(folder, holder=holder):
        try:
            yield check(folder)
        finally:
            if is_first and holds_only_leftovers(absolute):
                _remove_empty(absolute, missing)


def holds_only_leftovers(folder: Path) -> bool:
    """Whether a folder is empty but for what ilk's processes leave when they are killed."""
    try:
        return all(
            holds_only_leftovers(path)
            if path.is_dir() and not path.is_symlink()
            else TEMPORARY_FILES.fullmatch(path.name)
            for path in folder.iterdir()
        )
    except OSError:
        return False


def _remove_empty(folder: Path, created: list[Path]) -> None:
    """Remove the files of the lock, and the folders that were created for it."""
    with suppress(OSError):  # another process has written to it
        for name in (HOLDER_FILE, LOCK_FILE):
            (folder / name).unlink(missing_ok=True)
        for path in created:
            path.rmdir()


def check_writable(
    folder: Path, kind: FolderKind = CLASSIFIER, source_model: Path | None = None
) -> Path:
    """Check that a model can be written to `folder`, and return the folder.

    A missing folder is created for the check and removed again.

    Args:
        folder: Folder to check.
        kind: Type of model that may be replaced.
        source_model: Folder of the model that the new one is derived from. `folder` must then not
            contain any other model, except an earlier adaptation of the same source.

    Raises:
        OutputError: The folder cannot be written, or contains something else.
    """
    absolute = Path(os.path.abspath(folder))
    try:
        ancestors = (*reversed(absolute.parents), absolute)
        first_missing = next((ancestor for ancestor in ancestors if not ancestor.exists()), None)
        absolute.mkdir(parents=True, exist_ok=True)
        names = [path.name for path in absolute.iterdir()]
    except OSError as error:
        raise OutputError(
            f"cannot write to {folder}: {error.strerror}; choose another folder with --out"
        ) from error
    if not holds_only_leftovers(absolute):
        _check_contents(folder, names, kind, source_model)
    probe = absolute / ".ilk.trial"
    write_atomically(probe, b"")
    probe.unlink(missing_ok=True)  # another process may check the folder at this moment
    if first_missing is not None:
        with suppress(OSError):  # another process has written to it
            for created in (absolute, *absolute.parents):
                created.rmdir()
                if created == first_missing:
                    break
    return folder


def _check_contents(
    folder: Path, names: list[str], kind: FolderKind, source_model: Path | None
) -> None:
    """Raise OutputError if the content of `folder` would be lost."""
    if DESCRIPTION_FILE not in names:
        if not (all(map(LEFTOVER_FILES.fullmatch, names)) and any(map(ILK_FILES.fullmatch, names))):
            raise OutputError(
                f"{folder} contains files that are not an {kind.format}; "
                "choose an empty folder with --out"
            )
        return
    description = _read_description(folder)
    if "format" not in description:
        raise OutputError(
            f"{folder / DESCRIPTION_FILE} is damaged or was not written by ilk; "
            "remove it, or choose an empty folder with --out"
        )
    if description["format"] != kind.format:
        raise OutputError(
            f"{folder} contains an {description['format']}, not an {kind.format}; "
            "choose an empty folder with --out"
        )
    if (
        source_model is None
        or folder.samefile(source_model)
        or _is_adaptation(description, _read_description(source_model))
    ):
        return
    raise OutputError(
        f"{folder} contains another {kind.format} than {source_model}, which would be lost; "
        "choose an empty folder with --out"
    )


def _is_adaptation(description: dict[str, Any], source: dict[str, Any]) -> bool:
    """Return whether a model is an adaptation of the source and nothing else."""
    keys = ("classes", "data", "extensions")
    return "adaptation" in description and all(
        description.get(key) == source.get(key) for key in keys
    )


def _read_description(folder: Path) -> dict[str, Any]:
    """Return the description of a folder; empty if it cannot be read."""
    try:
        description = json.loads(read_regular_file(folder / DESCRIPTION_FILE))
    except (OSError, ValueError, RecursionError):
        return {}
    return description if isinstance(description, dict) else {}
