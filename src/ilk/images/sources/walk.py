"""Walk every file below a folder, following links without cycles."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from ilk.images.rows import Row

FolderId = tuple[int, int] | str


class _Folder(NamedTuple):
    path: str  # from the root, "" for the root itself
    ancestors: frozenset[FolderId]  # the folders that hold it, and itself
    via_link: bool  # whether a link was followed on the way


def walk_files(root: Path) -> list[Row]:
    """Return one row per file below `root`, sorted by path, and one per folder not entered.

    Links are followed, except to a folder that contains the link, or from below another link to a
    folder that was already read: without the second rule, n folders that link to each other would
    give n! paths.
    """
    start = _Folder("", frozenset({_get_folder_id(os.fspath(root))}), False)
    rows: list[Row] = []
    visited = set(start.ancestors)
    pending = [start]
    while pending:
        current = pending.pop()
        try:
            with os.scandir(root / current.path) as entries:
                children = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            rows.append(_make_refused_row(current.path or ".", f"this folder: {error.strerror}"))
            continue
        for entry in reversed(children):
            path = f"{current.path}/{entry.name}" if current.path else entry.name
            if not _is_folder(entry):
                rows.append(Row(path))
                continue
            child, reason = _enter_folder(current, entry, path, visited)
            if reason:
                rows.append(_make_refused_row(path, reason))
            else:
                visited |= child.ancestors
                pending.append(child)
    return sorted(rows, key=lambda row: row.path)


def _enter_folder(
    parent: _Folder, entry: os.DirEntry[str], path: str, visited: set[FolderId]
) -> tuple[_Folder, str]:
    """Return the folder of `entry` and why it is not entered ("" if it is)."""
    is_link = entry.is_symlink()
    folder_id = _get_folder_id(entry.path)
    reason = ""
    if folder_id in parent.ancestors:
        reason = "a link to a folder that holds it"
    elif is_link and parent.via_link and folder_id in visited:
        reason = "a link to a folder that was read already"
    return _Folder(path, parent.ancestors | {folder_id}, parent.via_link or is_link), reason


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself; looking into it as a file tells what is wrong
        return False


def _get_folder_id(path: str) -> FolderId:
    """Return an identifier that all paths to one folder share."""
    try:
        status = os.stat(path)
    except OSError:
        return path
    if status.st_ino:
        return status.st_dev, status.st_ino
    return os.path.normcase(os.path.realpath(path))  # a file system without numbers


def _make_refused_row(path: str, detail: str) -> Row:
    return Row(path, status="refused", reason="unreadable", detail=detail)
