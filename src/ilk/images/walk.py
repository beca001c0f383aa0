"""Every file below a folder, whatever its name, through links but never in circles."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from ilk.images.rows import Row

Identity = tuple[int, int] | str


class _Folder(NamedTuple):
    path: str  # from the root, "" for the root itself
    above: frozenset[Identity]  # the folders that hold it, and itself
    linked: bool  # whether a link was followed on the way


def walk(root: Path) -> list[Row]:
    """One row a file below `root`, sorted by path, and one for each folder not entered.

    Links are followed, except to a folder that holds the link, or from below another link to a
    folder that was read already: without the second rule n folders that link to one another would
    be n! paths.
    """
    start = _Folder("", frozenset({_identity(os.fspath(root))}), False)
    rows: list[Row] = []
    entered = set(start.above)
    waiting = [start]
    while waiting:
        here = waiting.pop()
        try:
            with os.scandir(root / here.path) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            rows.append(_refused(here.path or ".", f"this folder: {error.strerror}"))
            continue
        for entry in reversed(found):
            path = f"{here.path}/{entry.name}" if here.path else entry.name
            if not _is_folder(entry):
                rows.append(Row(path))
                continue
            below, why = _below(here, entry, path, entered)
            if why:
                rows.append(_refused(path, why))
            else:
                entered |= below.above
                waiting.append(below)
    return sorted(rows, key=lambda row: row.path)


def _below(
    here: _Folder, entry: os.DirEntry[str], path: str, entered: set[Identity]
) -> tuple[_Folder, str]:
    """The folder that `entry` is, and why it is not entered ("" if it is)."""
    link = entry.is_symlink()
    itself = _identity(entry.path)
    why = ""
    if itself in here.above:
        why = "a link to a folder that holds it"
    elif link and here.linked and itself in entered:
        why = "a link to a folder that was read already"
    return _Folder(path, here.above | {itself}, here.linked or link), why


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself; looking into it as a file tells what is wrong
        return False


def _identity(path: str) -> Identity:
    """What two paths to one folder have in common."""
    try:
        told = os.stat(path)
    except OSError:
        return path
    if told.st_ino:
        return told.st_dev, told.st_ino
    return os.path.normcase(os.path.realpath(path))  # a file system without numbers


def _refused(path: str, detail: str) -> Row:
    return Row(path, status="refused", reason="unreadable", detail=detail)
