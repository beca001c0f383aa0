"""Rows of the sources that are not a folder, table or list: archives, patterns, standard input."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ilk.images.inspection.contents import AnyContent
from ilk.images.inspection.members import Member
from ilk.images.rows import Row, escape_path
from ilk.images.sources import standard_input
from ilk.images.sources.archives import MemberPath, find_wrapper, open_archive
from ilk.images.sources.buckets import get_relative, list_remote
from ilk.images.sources.globs import list_matches, split_pattern
from ilk.images.sources.kinds import Kind, check_regular, find_kind
from ilk.images.sources.layout import is_system
from ilk.images.sources.reading import Reading


class SourceRows(NamedTuple):
    """Uninspected rows of a source.

    Attributes:
        root: The folder that paths are relative to; None if they are used as given.
        rows: One per file, with label and split.
        contents: The images that are not files of their own, by position of their row.
        notes: What was read differently from what may be expected.
    """

    root: Path | None
    rows: list[Row]
    contents: dict[int, AnyContent]
    notes: tuple[str, ...] = ()


def read_special_source(source: str, kind: Kind, reading: Reading) -> SourceRows:
    """Return the rows of an archive, a pattern or standard input.

    An archive and the files that match a pattern are read as a folder would be.

    Raises:
        InputError: The source cannot be read, or its layout is ambiguous.
    """
    if kind == "archive":
        return _read_archive(source, reading)
    if kind == "bucket":
        return _read_bucket(source, reading)
    if kind == "glob":
        root, files = list_matches(source)
        return SourceRows(root, reading.read_folder(root, files), {})
    rows = reading.exclusion.apply([Row(path) for path in standard_input.read_paths()])
    return SourceRows(None, rows, {})


def find_walked_folders(source: Any) -> tuple[Path, ...]:
    """Return the folders whose files a source, or a list of sources, stands for; absolute."""
    if isinstance(source, list | tuple):
        return tuple(folder for item in source for folder in find_walked_folders(item))
    if not isinstance(source, str | os.PathLike):
        return ()
    path = os.fsdecode(source)
    kind = find_kind(path)
    if kind == "folder":
        return (Path(os.path.abspath(path)),)
    root = split_pattern(path)[0] if kind == "glob" else ""
    return (
        (Path(os.path.abspath(root)),) if root else ()
    )  # `*/*.jpg` makes no source of the working directory


def _read_archive(source: str, reading: Reading) -> SourceRows:
    archive = open_archive(check_regular(Path(source)))
    is_data = {member.name: not is_system(member.name) for member in archive.members}
    wrapper = find_wrapper(name for name, data in is_data.items() if data)
    prefix = f"{wrapper}/" if wrapper else ""
    notes = archive.notes
    if wrapper:
        notes += (f"{escape_path(wrapper)}/ in {escape_path(source)} is read as its folder",)
    members: dict[str, Member] = {}
    problems: dict[str, str] = {}
    for member in archive.members:
        name = member.name.removeprefix(prefix)
        if member.problem:
            problems.setdefault(name, member.problem)
        else:
            members[name] = member
    root = Path(source, wrapper)

    def open_table(path: Path) -> Path:
        return MemberPath.of(members[os.path.relpath(path, root).replace(os.sep, "/")])

    listed = reading.read_folder(root, [Row(name) for name in members], open_table)
    rows = [_check_member(row, members, problems) for row in listed]
    named = {row.path for row in rows}
    rows += [
        _refuse(Row(name), member.problem)
        for member in archive.members
        if member.problem
        and ((name := member.name.removeprefix(prefix)) in members or name not in named)
    ]
    rows.sort(key=lambda row: row.path)
    contents: dict[int, AnyContent] = {
        i: members[row.path] for i, row in enumerate(rows) if row.status == "used"
    }
    return SourceRows(root, rows, contents, notes)


def _read_bucket(source: str, reading: Reading) -> SourceRows:
    """Return the rows of a folder in a bucket, read as a folder of this machine would be."""
    files = {get_relative(file.path, source): file for file in list_remote(source)}
    if list(files) == ["."]:
        return SourceRows(None, reading.exclusion.apply([Row(source)]), {0: files["."]})
    root = Path(source)

    def open_table(path: Path) -> Path:
        return MemberPath.of(files[os.path.relpath(path, root).replace(os.sep, "/")])

    rows: list[Row] = []
    contents: dict[int, AnyContent] = {}
    for row in reading.read_folder(root, [Row(name) for name in files], open_table):
        if row.status == "used" and row.path not in files:
            row = replace(row, status="refused", reason="missing", detail="not in the bucket")
        elif row.status == "used":
            contents[len(rows)] = files[row.path]
        rows.append(replace(row, path=f"{source.rstrip('/')}/{row.path}"))
    return SourceRows(None, rows, contents)


def _check_member(row: Row, members: dict[str, Member], problems: dict[str, str]) -> Row:
    """Return the row, refused if it is listed in a table and cannot be read from the archive."""
    if row.status != "used" or row.path in members:
        return row
    if row.path in problems:
        return _refuse(row, problems[row.path])
    return replace(row, status="refused", reason="missing", detail="not in the archive")


def _refuse(row: Row, problem: str) -> Row:
    return replace(row, status="refused", reason="unreadable", detail=problem)
