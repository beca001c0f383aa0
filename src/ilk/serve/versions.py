"""Versions of a model: copies of its folder in `versions/N`, any of which can be put back.

The model folder itself always holds the version that is in use, so that `ilk predict` answers as
the server does. A copy becomes visible in one step (a folder is renamed), and a version is put back
in one transaction.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ilk.artifacts.model_folder import (
    DESCRIPTION_FILE,
    SAVE_SECONDS,
    read,
    read_digest,
)
from ilk.artifacts.overwrite_guard import LEFTOVER_FILES, TEMPORARY_FILES
from ilk.core.errors import ArtifactError, OutputError
from ilk.core.folder_transaction import FolderTransaction, lock_folder
from ilk.core.regular_file import read_regular_file
from ilk.serve.problems import Problem

FOLDER = "versions"
PART_SUFFIX = ".part"  # of a copy that is not complete


@dataclass(frozen=True)
class Version:
    """A version of a model.

    Attributes:
        number: Its number, from 1.
        digest: Digest of its description.
        is_current: Whether it is the one in use.
        n_classes: Number of its classes.
        created: When it was saved.
        summary: What was last changed, or "".
    """

    number: int
    digest: str
    is_current: bool
    n_classes: int
    created: str
    summary: str


def list_versions(folder: Path) -> list[Version]:
    """Return the versions of the model in `folder`, oldest first."""
    current = read_digest(folder)
    return [
        _describe(path, current)
        for path in sorted(_list_folders(folder), key=lambda path: int(path.name))
    ]


def keep_version(folder: Path) -> int:
    """Copy the model in `folder` to `versions/N` unless a version is the same; return its number.

    Hold the folder's lock.

    Raises:
        OutputError: The copy cannot be written.
    """
    versions = list_versions(folder)
    same = [v.number for v in versions if v.is_current]
    if same:
        return same[-1]
    number = max((v.number for v in versions), default=0) + 1
    home = folder / FOLDER
    part = home / f".{number}{PART_SUFFIX}"
    try:
        home.mkdir(exist_ok=True)
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        for path in _list_files(folder):
            shutil.copy2(path, part / path.name)
        os.replace(part, home / str(number))
    except OSError as error:
        raise OutputError(
            f"cannot write to {home}: {error.strerror or error}; the model is unchanged"
        ) from error
    return number


def restore_version(folder: Path, number: int) -> None:
    """Put a version back into `folder`.

    Raises:
        Problem: There is no such version.
        ArtifactError: It is damaged.
        OutputError: The folder cannot be written.
    """
    source = folder / FOLDER / str(number)
    if source not in _list_folders(folder):
        raise Problem(404, f"there is no version {number}; GET /versions lists what there is")
    read(source)
    with lock_folder(folder, wait=SAVE_SECONDS):
        keep_version(folder)
        contents = {path.name: path.read_bytes() for path in _list_files(source)}
        change = FolderTransaction(folder)
        for name in sorted(contents, key=lambda name: name == DESCRIPTION_FILE):
            change.write(name, contents[name])
        for path in _list_files(folder):
            if path.name not in contents:
                change.delete(path.name)
        change.commit()


def _list_folders(folder: Path) -> list[Path]:
    try:
        return [
            path
            for path in (folder / FOLDER).iterdir()
            if path.name.isdecimal() and str(int(path.name)) == path.name and path.is_dir()
        ]
    except OSError:
        return []


def _list_files(folder: Path) -> list[Path]:
    """Return the files of a model folder that are ilk's; what else lies there is left alone."""
    return [
        path
        for path in sorted(folder.iterdir())
        if path.is_file()
        and not TEMPORARY_FILES.fullmatch(path.name)
        and (
            path.name == DESCRIPTION_FILE
            or path.suffix == ".safetensors"
            or LEFTOVER_FILES.fullmatch(path.name)
        )
    ]


def _describe(path: Path, current: str) -> Version:
    """Describe a version; what its description does not say, or says wrongly, is left out."""
    description = _read_description(path)
    digest, classes = str(description.get("digest") or ""), description.get("classes")
    return Version(
        int(path.name),
        digest,
        bool(digest) and digest == current,
        len(classes) if isinstance(classes, list) else 0,
        _read_time(path / DESCRIPTION_FILE),
        _summarize(description) if description else "damaged",
    )


def _read_time(path: Path) -> str:
    try:
        modified = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except (OSError, OverflowError, ValueError):
        return ""
    return f"{modified:%Y-%m-%d %H:%M UTC}"


def _summarize(description: dict[str, Any]) -> str:
    """Return what was added last."""
    extensions = description.get("extensions")
    last = extensions[-1] if isinstance(extensions, list) and extensions else None
    added = last.get("n_images") if isinstance(last, dict) else None
    if not isinstance(added, dict):
        return ""
    return ", ".join(f"{n:,} × {name}" for name, n in added.items() if isinstance(n, int))


def _read_description(folder: Path) -> dict[str, Any]:
    try:
        value = json.loads(read_regular_file(folder / DESCRIPTION_FILE))
    except (OSError, ValueError, RecursionError, ArtifactError):
        return {}
    return value if isinstance(value, dict) else {}
