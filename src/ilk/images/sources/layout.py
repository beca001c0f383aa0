"""Infer files, classes and splits from the layout of a folder.

- `cat/1.png`, `cat/young/2.png`: the first folder is the class;
- `train/cat/1.png`, `test/cat/2.png`: splits of such folders, and `cat/train/1.png` (see
  `ilk.images.annotations.splits`);
- `3.png` beside the class folders, or in a folder `unlabelled`: images without a label;
- `metadata.csv` (.tsv, .jsonl, .parquet) in the folder or in a split: the labels are read from it,
  as in a Hugging Face image folder.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from ilk.core.errors import InputError
from ilk.images.annotations.splits import (
    METADATA_FILES,
    UNLABELLED_FOLDERS,
    SplitLayout,
    find_split_layout,
    parse_split,
)
from ilk.images.rows import Row, escape_path
from ilk.images.sources.exclude import Exclusion
from ilk.images.sources.walk import walk_files
from ilk.images.tables.read import read_table
from ilk.images.tables.requested_columns import Columns, NoteCallback, ignore_note
from ilk.images.tables.text_encoding import decode_windows, describe_decoded

SYSTEM_FILES = {
    ".ds_store",
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "icon\r",
    ".localized",
    ".directory",
    "selection.csv",
    "selection.json",  # what `ilk condense` and `ilk select` say of a folder of images
}
DEFAULT_STORE = "store.sqlite"  # the name of `ilk.store`'s file, unless ILK_STORE sets another
SYSTEM_FOLDERS = {"__macosx", "$recycle.bin", "system volume information", "@eadir"}


def list_files(source: str | os.PathLike[str]) -> list[str]:
    """List the files of `source`: those of a folder, sorted, or the file itself.

    System files are omitted; other files are included even if they are not images.
    """
    root = os.fspath(source)
    if not os.path.isdir(root):
        return [root]
    rows = walk_files(Path(root))
    return [os.path.join(root, row.path) for row in rows if not is_system(row.path)]


def read_folder(
    root: Path,
    columns: Columns = Columns(),  # noqa: B008 (frozen)
    files: Sequence[Row] | None = None,
    open_table: Callable[[Path], Path] = lambda path: path,
    note: NoteCallback = ignore_note,
    exclusion: Exclusion | None = None,
) -> list[Row]:
    """Return one uninspected row per file below `root`, sorted, with label and split.

    Args:
        root: The folder.
        columns: Column names given by the user, for its label tables.
        files: The files, if they are not all in `root`; their paths are relative to it.
        open_table: Returns the path from which a label table is read.
        note: Called with each remark on how it was read.
        exclusion: Patterns of files that are left out; their rows are "ignored".

    Raises:
        InputError: The layout is ambiguous, or a label table cannot be read.
    """
    all_rows = walk_files(root) if files is None else files
    if exclusion is not None:
        all_rows = exclusion.apply(all_rows)
    data_rows = [row for row in all_rows if not (is_system(row.path) or row.status == "ignored")]
    layout = find_split_layout([tuple(row.path.split("/")) for row in data_rows], root)
    tables = _find_tables(data_rows, layout, root)
    if columns.is_given and not tables:
        raise InputError(
            f"{escape_path(root)} is a folder without a metadata table; "
            "path_column, label_column, split_column, group_column and multi_label are for tables; "
            "group_from (--group-from) finds groups in paths"
        )
    table_rows = _read_tables(root, tables, columns, open_table, note)
    rows = [
        row_out
        for row in all_rows
        for row_out in _expand_row(row, layout, tables, table_rows.pop(row.path, None))
    ]
    rows += [
        _assign_class(line, layout, labelled=False)
        for lines in table_rows.values()
        for line in lines
    ]
    return sorted(_decode_labels(rows, note), key=lambda row: row.path)


def _decode_labels(rows: list[Row], note: NoteCallback) -> list[Row]:
    """Return the rows with labels that are text, whatever the encoding of the folders' names."""
    names = sorted({row.label for row in rows if row.label is not None})
    decoded = {name: decode_windows(name) for name in names}
    text = describe_decoded(list(decoded.items()))
    if not text:
        return rows
    note(f"a folder's name {text}".replace("save it as UTF-8", "rename it"))
    return [replace(row, label=decoded.get(row.label or "", row.label)) for row in rows]


def find_empty_folders(root: Path) -> list[str]:
    """List folders that look like a class, or a class of a split, and hold no file; sorted.

    Empty if a label table applies or a folder cannot be read.
    """
    if any((root / name).is_file() for name in METADATA_FILES):
        return []
    empty = []
    for top in _list_class_folders(root):
        if _is_empty(top):
            empty.append(f"{top.name}/")
        elif parse_split(top.name, decorated=False):
            empty += [
                f"{top.name}/{below.name}/"
                for below in _list_class_folders(top)
                if _is_empty(below)
            ]
    return empty


def _list_class_folders(folder: Path) -> list[Path]:
    """List folders directly in `folder` that may be a class or a split."""
    try:
        inside = sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:
        return []
    return [
        path
        for path in inside
        if not is_system(f"{path.name}/a") and path.name.casefold() not in UNLABELLED_FOLDERS
    ]


def _is_empty(folder: Path) -> bool:
    """Whether it is readable throughout and holds no file; stops at the first file."""
    pending = [os.fspath(folder)]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if not entry.is_dir(follow_symlinks=False):
                        return False
                    pending.append(entry.path)
        except OSError:
            return False
    return True


def is_system(path: str) -> bool:
    """Whether a relative path was created by the operating system or a tool."""
    *folders, name = path.casefold().split("/")
    return (
        name in SYSTEM_FILES
        or name in list_store_files(os.environ.get("ILK_STORE"))
        or name.startswith(("._", ".ilk."))
        or (name.startswith(".") and name.endswith(".part"))
        or any(f in SYSTEM_FOLDERS or (f.startswith(".") and f.strip(".")) for f in folders)
    )


@lru_cache
def list_store_files(path: str | None) -> frozenset[str]:
    """Return the names, in lower case, of the files of a feature store, which are not images."""
    name = os.path.basename(path or DEFAULT_STORE).casefold()
    return frozenset(name + suffix for suffix in ("", "-wal", "-shm", "-journal"))


def is_label_table(path: str) -> bool:
    """Whether a relative path is where `read_folder` looks for a table of labels."""
    folder, name = posixpath.split(path)
    return name.casefold() in METADATA_FILES and (not folder or parse_split(folder) is not None)


def _find_tables(rows: list[Row], layout: SplitLayout, root: Path) -> dict[str, str]:
    """Return label tables by the folder they describe: "" or a split."""
    tables: dict[str, str] = {}
    for row in rows:
        folder, name = posixpath.split(row.path)
        if name.casefold() in METADATA_FILES and (folder == "" or folder in layout.first):
            if folder in tables:
                raise InputError(
                    f"{escape_path(root / folder)} holds {tables[folder]} and {name}; "
                    "keep one of them"
                )
            tables[folder] = name
    return tables


def _read_tables(
    root: Path,
    tables: dict[str, str],
    columns: Columns,
    open_table: Callable[[Path], Path],
    note: NoteCallback,
) -> dict[str, list[Row]]:
    """Return what the label tables say about each file, by path relative to the root."""
    lines: dict[str, list[Row]] = {}
    for folder, name in tables.items():
        for row in read_table(open_table(root / folder / name), columns, note):
            path = posixpath.normpath(posixpath.join(folder, row.path))
            lines.setdefault(path, []).append(replace(row, path=path))
    return lines


def _expand_row(
    row: Row, layout: SplitLayout, tables: dict[str, str], table_rows: list[Row] | None
) -> list[Row]:
    folder, name = posixpath.split(row.path)
    if is_system(row.path):
        return [Row(row.path, status="ignored", reason="system file")]
    if tables.get(folder) == name:
        return [Row(row.path, status="ignored", reason="label table")]
    if row.status != "used":
        return [row]
    if table_rows:
        return [_assign_class(line, layout, labelled=False) for line in table_rows]
    top = row.path.split("/")[0]
    return [_assign_class(row, layout, labelled=not ("" in tables or top in tables))]


def _assign_class(row: Row, layout: SplitLayout, *, labelled: bool) -> Row:
    """Return the row with its split and, if the folders are `labelled`, its class."""
    split, inside = layout.locate(tuple(row.path.split("/")))
    label = row.label
    if labelled and len(inside) > 1 and inside[0].casefold() not in UNLABELLED_FOLDERS:
        label = inside[0]
    return replace(row, label=label, split=split or row.split)
