"""What a folder says by the way it is laid out: which files, which class, which part.

- `cat/1.png`, `cat/young/2.png`: the first folder is the class;
- `train/cat/1.png`, `test/cat/2.png` (also val, valid, validation; in any case): parts of these;
- `3.png` beside the class folders, or in a folder `unlabelled`: images without a label;
- `metadata.csv` (.tsv, .jsonl, .parquet) in the folder or in a part: the labels are in there, as
  in a Hugging Face image folder.
"""

from __future__ import annotations

import os
import posixpath
from dataclasses import replace
from pathlib import Path

from ilk.errors import InputError
from ilk.images.rows import Row, shown
from ilk.images.tables import SPLITS, Columns, read_table
from ilk.images.walk import walk

UNLABELLED = ("unlabelled", "unlabeled")
METADATA = ("metadata.csv", "metadata.tsv", "metadata.jsonl", "metadata.parquet")
SYSTEM = {
    ".ds_store",
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "icon\r",
    ".localized",
    ".directory",
}
SYSTEM_FOLDERS = {"__macosx", "$recycle.bin", "system volume information", "@eadir"}

Parts = tuple[str, ...]


def listing(source: str | os.PathLike[str]) -> list[str]:
    """The files that `source` stands for: those of a folder, sorted, or itself.

    System files are left out; a file that is no image is not.
    """
    root = os.fspath(source)
    if not os.path.isdir(root):
        return [root]
    rows = walk(Path(root))
    return [os.path.join(root, row.path) for row in rows if not is_system(row.path)]


def folder(root: Path, columns: Columns = Columns()) -> list[Row]:  # noqa: B008 (frozen)
    """A row for each file below `root`, sorted, with label and part but not looked into yet.

    Raises:
        InputError: The folders can be read in two ways, or a label table cannot be read.
    """
    found = walk(root)
    seen = [row for row in found if not is_system(row.path)]
    parts = parts_of([tuple(row.path.split("/")) for row in seen], root)
    tables = _tables(seen, parts, root)
    if columns.told and not tables:
        raise InputError(
            f"{shown(root)} is a folder without a metadata table; "
            "path_column and label_column are for tables"
        )
    listed = _listed(root, tables, columns)
    rows = [told for row in found for told in _told(row, parts, tables, listed.pop(row.path, None))]
    rows += [_placed(line, parts, labelled=False) for lines in listed.values() for line in lines]
    return sorted(rows, key=lambda row: row.path)


def empty_folders(root: Path) -> list[str]:
    """Folders that look like a class, or a part's class, and hold no file; by path, sorted.

    None where a table of labels rules, or where a folder cannot be read.
    """
    if any((root / name).is_file() for name in METADATA):
        return []
    found = []
    for top in _classes_in(root):
        if _bare(top):
            found.append(f"{top.name}/")
        elif top.name.casefold() in SPLITS:
            found += [f"{top.name}/{below.name}/" for below in _classes_in(top) if _bare(below)]
    return found


def _classes_in(folder: Path) -> list[Path]:
    """Folders directly in `folder` that may stand for a class or a part."""
    try:
        inside = sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:
        return []
    return [
        path
        for path in inside
        if not is_system(f"{path.name}/a") and path.name.casefold() not in UNLABELLED
    ]


def _bare(folder: Path) -> bool:
    """Whether all of it could be read and there is no file; stops at the first."""
    unread: list[OSError] = []
    some = any(files for _, _, files in os.walk(folder, onerror=unread.append))
    return not some and not unread


def is_system(path: str) -> bool:
    """Whether a relative path is of the operating system's or a tool's making."""
    *folders, name = path.casefold().split("/")
    return (
        name in SYSTEM
        or name.startswith("._")
        or any(f in SYSTEM_FOLDERS or f.startswith(".") for f in folders)
    )


def parts_of(paths: list[Parts], root: Path) -> dict[str, str]:
    """Which top folders are parts: folder name to "train", "val" or "test".

    A lone `train` beside other folders, with images directly in it, is a class (a vehicle). What
    could be both is not guessed.

    Raises:
        InputError: Folders of parts stand beside others.
    """
    tops = {p[0] for p in paths if len(p) > 1 and p[0].casefold() not in UNLABELLED}
    named = {top: SPLITS[top.casefold()] for top in tops if top.casefold() in SPLITS}
    others = sorted(tops - set(named))
    if not others:
        return named
    deep = {p[0] for p in paths if len(p) > 2 or (len(p) == 2 and p[1].casefold() in METADATA)}
    if named and (set(named.values()) != {"train"} or deep & set(named)):
        raise InputError(
            f"{shown(root)} holds {_names(sorted(named))} beside {_names(others)}: parts or "
            "classes? Move the other folders out or into a part, or rename what is a class"
        )
    return {}


def _names(names: list[str]) -> str:
    told = ", ".join(f"{shown(name)}/" for name in names[:3])
    return told if len(names) <= 3 else f"{told} and {len(names) - 3} more"


def _tables(rows: list[Row], parts: dict[str, str], root: Path) -> dict[str, str]:
    """Label tables by the folder they are for: "" or a part."""
    tables: dict[str, str] = {}
    for row in rows:
        at, name = posixpath.split(row.path)
        if name.casefold() in METADATA and (at == "" or at in parts):
            if at in tables:
                raise InputError(
                    f"{shown(root / at)} holds {tables[at]} and {name}; keep one of them"
                )
            tables[at] = name
    return tables


def _listed(root: Path, tables: dict[str, str], columns: Columns) -> dict[str, list[Row]]:
    """What the label tables say of each file, by its path from the root."""
    lines: dict[str, list[Row]] = {}
    for at, name in tables.items():
        for row in read_table(root / at / name, columns):
            path = posixpath.normpath(posixpath.join(at, row.path))
            lines.setdefault(path, []).append(replace(row, path=path))
    return lines


def _told(
    row: Row, parts: dict[str, str], tables: dict[str, str], listed: list[Row] | None
) -> list[Row]:
    at, name = posixpath.split(row.path)
    if is_system(row.path):
        return [Row(row.path, status="ignored", reason="system file")]
    if tables.get(at) == name:
        return [Row(row.path, status="ignored", reason="label table")]
    if row.status != "used":
        return [row]
    if listed:
        return [_placed(line, parts, labelled=False) for line in listed]
    top = row.path.split("/")[0]
    return [_placed(row, parts, labelled=not ("" in tables or top in tables))]


def _placed(row: Row, parts: dict[str, str], *, labelled: bool) -> Row:
    """The row with the part and, if the folders are `labelled`, the class that they say."""
    path = row.path.split("/")
    inside = path[1:] if path[0] in parts else path
    split = parts.get(path[0], row.split) if len(path) > 1 else row.split
    label = row.label
    if labelled and len(inside) > 1 and inside[0].casefold() not in UNLABELLED:
        label = inside[0]
    return replace(row, label=label, split=split)
