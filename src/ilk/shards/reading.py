"""Rows of the manifest as images that can be read: files, files of archives, and addresses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from ilk.core.errors import InputError
from ilk.images.inspection.contents import AnyContent, ContentMap
from ilk.images.inspection.members import Member
from ilk.images.rows import Images, Row, escape_path
from ilk.images.rows.addresses import is_address
from ilk.images.sources.archives import open_archive
from ilk.images.sources.buckets import open_remote
from ilk.shards.parquet_files import from_text


def open_rows(base: Path, rows: Sequence[Row], columns: Mapping[str, Sequence[Any]]) -> Images:
    """Return rows as images; nothing but the lists of archives is read yet.

    Args:
        base: The folder that paths are relative to.
        rows: The rows.
        columns: Their columns in the manifest, which say where each is.

    Raises:
        InputError: An archive is gone, or lacks a file that it had.
    """
    items: dict[str, AnyContent] = {}
    origins: dict[str, str] = {}
    places = zip(rows, columns["archive"], columns["member"], columns["origin"], strict=True)
    for row, archive, member, origin in places:
        if row.status != "used" or not (archive or is_address(row.path)):
            continue
        if not archive:
            items[row.digest] = open_remote(row.file_path, row.size)
        else:
            items[row.digest] = _find_member(from_text(archive) or "", from_text(member) or "")
        origins[row.digest] = origin or row.digest
    return Images(base, tuple(rows), ContentMap(items, origins))


def _find_member(archive: str, name: str) -> Member:
    member = _list_members(archive).get(name)
    if member is None:
        raise InputError(
            f"{escape_path(archive)} no longer has the file {escape_path(name)}; the archive has "
            "changed since the manifest was made: restore it, or encode into another folder"
        )
    return member


@lru_cache(maxsize=4)
def _list_members(path: str) -> dict[str, Member]:
    if not Path(path).is_file():
        raise InputError(
            f"the archive {escape_path(path)} of the manifest is missing; restore it, or encode "
            "into another folder"
        )
    return {member.name: member for member in open_archive(path).members if not member.problem}
