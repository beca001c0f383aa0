"""Check that a model can be written to a folder, before any work is done."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
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

ILK_FILES = re.compile(
    rf"{WEIGHTS_PATTERN.pattern}|\..*\.(part|trial)|\.ilk\.(lock|commit)|.*\.ilk-new"
)  # files that only ilk writes
LEFTOVER_FILES = re.compile(
    rf"{ILK_FILES.pattern}|intake\.json|leaderboard\.json|suspects\.csv|report\.html"
)


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
    if names:
        _check_contents(folder, names, kind, source_model)
    probe = absolute / f".{os.getpid()}.trial"
    write_atomically(probe, b"")
    probe.unlink()
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
                f"{folder} contains files that are no {kind.format}; "
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
            f"{folder} contains an {description['format']!r} and no {kind.format}; "
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
        description = json.loads((folder / DESCRIPTION_FILE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return description if isinstance(description, dict) else {}
