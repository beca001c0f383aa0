"""What a path given by a user stands for, in every command and in Python.

| source | stands for |
|---|---|
| a folder | the files in it, sorted |
| `.csv`, `.tsv`, `.jsonl`, `.parquet` | the files that its column of paths names, one per line |
| `.txt` | the files that it lists, one per line |
| `.zip`, `.tar`, `.tar.gz`, … | the files in it, read without unpacking |
| `photos/**/*.jpg` | the files that match, sorted; what exists under that name is meant literally |
| `s3://bucket/folder`, `gs://`, `hf://`, … | the files there, sorted |
| `-` | the files that standard input lists |
| anything else | one image |

Labels are the business of `ilk.images.intake`; here a source becomes a flat list of images.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from dataclasses import dataclass

from ilk.core.errors import InputError, NoImages
from ilk.core.option_types import check_text
from ilk.images.inspection.contents import AnyContent
from ilk.images.rows import escape_path
from ilk.images.rows.addresses import is_address
from ilk.images.sources import standard_input
from ilk.images.sources.archives import find_wrapper, open_archive
from ilk.images.sources.buckets import get_relative, list_remote, open_remote
from ilk.images.sources.exclude import Exclusion
from ilk.images.sources.globs import list_matches
from ilk.images.sources.ilk_folders import check_no_ilk_folder
from ilk.images.sources.kinds import (
    Kind,
    Path,
    check_regular,
    drop_stray,
    find_kind,
    find_kind_of_suffix,
    make_missing_error,
)
from ilk.images.sources.layout import is_label_table, is_system, list_files
from ilk.images.tables.read import read_list, read_paths

Input = str | AnyContent
NamedInput = tuple[str, Input]  # path, or place in the list; the image


@dataclass(frozen=True)
class ListedInputs:
    """The images that some sources stand for, in order.

    Attributes:
        inputs: Path, or name, and image of each.
        notes: What was left out or read differently from what may be expected.
        groups: Group of each image, None for a group of its own; empty if none is read.
    """

    inputs: tuple[NamedInput, ...]
    notes: tuple[str, ...] = ()
    groups: tuple[str | None, ...] = ()

    def __len__(self) -> int:
        return len(self.inputs)

    def list_paths(self) -> list[str]:
        """Return the paths of the images that are files of their own."""
        return [image for _, image in self.inputs if isinstance(image, str)]


def list_sources(
    sources: Sequence[Path],
    path_column: str | None = None,
    exclude: Sequence[str] = (),
    group_column: str | None = None,
) -> ListedInputs:
    """Return the images that sources stand for, in order.

    A table, list or archive beside images that are given one by one, as the shell expands
    `photos/*`, is a stray file of their folder and not read.

    Args:
        sources: Paths.
        path_column: The column of paths in tables, if it has none of the usual names.
        exclude: Patterns of files to leave out (see `ilk.images.sources.exclude`).
        group_column: The column of groups in tables; None reads none.

    Raises:
        InputError: A source cannot be read.
        NoImages: There is no file.
    """
    check_text(path_column=path_column, group_column=group_column)
    kinds = [find_kind(source) for source in sources]
    if path_column is not None and "table" not in kinds:
        raise InputError("path_column (--path-column) is for tables, and there is none")
    if group_column is not None and "table" not in kinds:
        raise InputError("group_column (--group-column) is for tables, and there is none")
    inputs: list[NamedInput] = []
    groups: list[str | None] = []
    notes: list[str] = []
    n_found, exclusion = 0, Exclusion(exclude)
    for source, kind in zip(map(os.fsdecode, sources), drop_stray(sources, kinds), strict=True):
        if kind == "file" and find_kind_of_suffix(source):
            notes.append(
                f"{escape_path(source)} is given along with single images, and is not "
                "read; give it alone, or give the folder"
            )
        found = list_source(source, kind, path_column, group_column)
        n_found += len(found)
        base = source if kind in ("folder", "archive") else os.path.dirname(source)
        kept = [
            i
            for i, (path, _) in enumerate(found.inputs)
            if not exclusion.excludes(_make_relative(path, base))
        ]
        inputs += [found.inputs[i] for i in kept]
        groups += [found.groups[i] if found.groups else None for i in kept]
        notes += found.notes
    notes += filter(None, [exclusion.describe()])
    if not inputs:
        names = ", ".join(map(escape_path, sources)) or "an empty list"
        if n_found:
            raise NoImages(f"nothing is left of {names}: {exclusion.describe()}")
        raise NoImages(f"there is no file in {names}; give images, or a folder with some")
    return ListedInputs(tuple(inputs), tuple(notes), () if group_column is None else tuple(groups))


def _make_relative(path: str, base: str) -> str:
    """Return a path with `/` between names, relative to the folder `base` if it lies in it."""
    relative = os.path.relpath(path, base or os.curdir) if not os.path.isabs(path) or base else path
    return (path if relative.startswith(os.pardir) else relative).replace(os.sep, "/")


def list_source(
    source: str, kind: Kind, path_column: str | None = None, group_column: str | None = None
) -> ListedInputs:
    """Return the images that one source stands for, perhaps none.

    Raises:
        InputError: It cannot be read.
    """
    match kind:
        case "folder":
            check_no_ilk_folder(source)
            paths = [
                path
                for path in list_files(source)
                if not is_label_table(os.path.relpath(path, source).replace(os.sep, "/"))
            ]
        case "table":
            return _list_table(source, path_column, group_column)
        case "list":
            rows = read_list(_check_exists(source))
            folder = os.path.dirname(source)
            names = [row.path for row in rows]
            paths = [name if is_address(name) else os.path.join(folder, name) for name in names]
        case "archive":
            return _list_archive(source)
        case "glob":
            root, rows = list_matches(source)
            names = [row.path for row in rows if not is_system(os.path.basename(row.path))]
            paths = [os.fspath(root / name) for name in names]
        case "bucket":
            return _list_bucket(source)
        case "standard input":
            paths = standard_input.read_paths()
        case _:
            paths = [source]
    return ListedInputs(tuple((path, _to_input(path)) for path in paths))


def _list_table(source: str, path_column: str | None, group_column: str | None) -> ListedInputs:
    rows, has_labels = read_paths(_check_exists(source), path_column, group_column)
    notes: tuple[str, ...] = ()
    if has_labels:
        notes = (f"labels in {escape_path(source)} are not read; ilk evaluate compares with them",)
    folder = os.path.dirname(source)
    joined = [row.path if is_address(row.path) else os.path.join(folder, row.path) for row in rows]
    groups = tuple(row.group for row in rows)
    return ListedInputs(tuple((path, _to_input(path)) for path in joined), notes, groups)


def _to_input(path: str) -> Input:
    return open_remote(path) if is_address(path) else path


def _list_bucket(source: str) -> ListedInputs:
    files = {get_relative(file.path, source): file for file in list_remote(source)}
    return ListedInputs(
        tuple(
            (file.path, file)
            for name, file in files.items()
            if not is_system(name) and not is_label_table(name)
        )
    )


def _list_archive(source: str) -> ListedInputs:
    archive = open_archive(_check_exists(source))
    members = [member for member in archive.members if not is_system(member.name)]
    wrapper = find_wrapper(member.name for member in members)
    prefix = f"{wrapper}/" if wrapper else ""
    named: list[NamedInput] = [
        (member.path, member)
        for member in members
        if not is_label_table(member.name.removeprefix(prefix))
    ]
    return ListedInputs(tuple(sorted(named, key=lambda pair: pair[0])), archive.notes)


def _check_exists(source: str) -> pathlib.Path:
    """Return the path of a table, list or archive.

    Raises:
        InputError: It does not exist, or is not a regular file.
    """
    if not os.path.exists(source):
        raise make_missing_error(source, "file")
    return check_regular(pathlib.Path(source))
