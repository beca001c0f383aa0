"""What a later listing of a source changes: late rows are welcome, changed ones are refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ilk.core.errors import InputError
from ilk.images.rows import Images, Row, escape_path
from ilk.shards.parquet_files import from_text
from ilk.shards.row_columns import Columns, check_paths, list_columns

CONTENT = ("value_range", "digest", "status", "page", "archive", "member")
LABELS = ("label", "labels", "split", "group")
COMPARED_WORDS = {"digest": "content", "status": "status", "value_range": "value range"}


def find_late_rows(
    manifest: Path, shards: Iterable[Columns], images: Images, relabel: bool = False
) -> tuple[list[Row], list[Columns]]:
    """Return the rows of `images` that the manifest lacks, and the columns of its shards.

    Args:
        manifest: Path of the manifest, for messages.
        shards: Columns of each of its shards.
        images: The listing.
        relabel: Take labels, splits and groups of the shards from `images`.

    Raises:
        InputError: A row of the manifest is missing, or has changed; the message names it.
    """
    check_paths([row.path for row in images.rows])
    by_path = {row.path: row for row in images.rows}
    old: list[Columns] = []
    for columns in shards:
        found = _find_rows(manifest, by_path, columns)
        new = list_columns(images, found)
        for row, values in enumerate(zip(*(columns[n] for n in CONTENT), strict=True)):
            _compare(manifest, found[row], CONTENT, values, [new[n][row] for n in CONTENT])
        if relabel:
            columns |= {name: new[name] for name in LABELS}
        else:
            for row, values in enumerate(zip(*(columns[n] for n in LABELS), strict=True)):
                _compare(manifest, found[row], LABELS, values, [new[n][row] for n in LABELS])
        old.append(columns)
        for row_found in found:
            del by_path[row_found.path]
    return [row for row in images.rows if row.path in by_path], old


def _find_rows(manifest: Path, by_path: dict[str, Row], columns: Columns) -> list[Row]:
    paths = [from_text(path) or "" for path in columns["path"]]
    if gone := [path for path in paths if path not in by_path]:
        raise InputError(
            f"{escape_path(gone[0])}, an image of {escape_path(manifest)}, is no longer in "
            "the source; shards only grow: restore it, or encode into another folder"
        )
    return [by_path[path] for path in paths]


def _compare(
    manifest: Path, row: Row, names: Sequence[str], old: Sequence[Any], new: Sequence[Any]
) -> None:
    for name, before, now in zip(names, old, new, strict=True):
        if before != now:
            word = COMPARED_WORDS.get(name, name)
            if names is LABELS:
                change = f" from {before!r} to {now!r}"
                advice = "pass --relabel, which keeps the features,"
            elif name == "value_range" and before is not None:
                change, advice = "", f"pass --value-range {before[0]:g}-{before[1]:g} as before,"
            else:
                change, advice = "", "restore the image,"
            raise InputError(
                f"the {word} of {escape_path(row.path)} has changed{change} since "
                f"{escape_path(manifest)} was made; {advice} or encode into another folder"
            )
