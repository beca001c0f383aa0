"""Groups of images that belong together: shots of one patient, frames of one video, one place.

Images of a group resemble each other for reasons that have nothing to do with their class, so that
a model recognizes in one what it saw in another. A group therefore lies on one side of every split.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from ilk.core.errors import InputError
from ilk.images.annotations.label_values import parse_label
from ilk.images.rows import Row, escape_path

SPLIT_REASON = "group in both train and test"
SEPARATOR = "/"  # between several captured parts of a path
UNGROUPED = -1
DUPLICATES = "duplicates"  # reserved: groups that `ilk fit` finds itself


def parse_group(value: Any) -> str | None:
    """Return the name of a group from a cell or an item of `groups`, read as a label is.

    None where it is empty. Spaces around a name do not count.
    """
    name = parse_label(value)
    return name.strip() if name is not None else None


def assign_groups(rows: Sequence[Row], groups: Sequence[Any]) -> list[Row]:
    """Return rows with the groups that the caller gives, one value per row, None for none.

    Raises:
        InputError: There are more or fewer groups than rows.
    """
    if len(groups) != len(rows):
        raise InputError(
            f"{len(groups)} groups for {len(rows)} images; give one group per image, None for an "
            "image that is a group of its own"
        )
    return [replace(row, group=parse_group(value)) for row, value in zip(rows, groups, strict=True)]


def unify_lines(source: str, rows: Sequence[Row]) -> list[Row]:
    """Return rows in which all lines with one path have one group.

    Raises:
        InputError: Two lines give the same path different groups.
    """
    groups: dict[str, str] = {}
    for row in rows:
        if row.group is not None and groups.setdefault(row.path, row.group) != row.group:
            raise InputError(
                f"{source} gives {escape_path(row.path)} two groups, {groups[row.path]!r} and "
                f"{row.group!r}; correct the lines"
            )
    return [replace(row, group=groups.get(row.path)) for row in rows]


def check_pattern(pattern: str) -> re.Pattern[str]:
    """Compile the pattern of `--group-from`.

    Raises:
        InputError: It is not a regular expression, or matches the empty text.
    """
    if pattern == DUPLICATES:
        raise InputError(
            f"group_from (--group-from) {DUPLICATES} is for ilk fit, which compares the images; "
            "ilk duplicates lists them. For paths with that word, write '(duplicates)'"
        )
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError(
            f"group_from (--group-from) is {pattern!r}, which is not a regular expression "
            f"({error}); "
            "for file names such as p07_3.png: '(p[0-9]+)_', and for a folder per patient: "
            "'([^/]+)/[^/]+$'"
        ) from None
    if not pattern:
        raise InputError("group_from (--group-from) is empty; give a regular expression")
    return compiled


def find_group(path: str, pattern: re.Pattern[str]) -> str | None:
    """Return the group in a path: the captured parts, or the whole match if none is captured.

    >>> find_group("p07_3.png", re.compile("(p[0-9]+)_"))
    'p07'
    """
    match = pattern.search(path)
    if match is None:
        return None
    parts = [part for part in match.groups() if part]
    return (SEPARATOR.join(parts) if pattern.groups else match.group()) or None


def assign_groups_from_paths(rows: Sequence[Row], pattern: str) -> list[Row]:
    """Return rows whose group is the part of the path that `pattern` finds.

    Raises:
        InputError: `pattern` is invalid, or matches no path.
    """
    compiled = check_pattern(pattern)
    grouped = [
        replace(row, group=find_group(row.path.replace(os.sep, "/"), compiled))
        if row.status != "ignored"
        else row
        for row in rows
    ]
    candidates = [row for row in grouped if row.status != "ignored"]
    if candidates and all(row.group is None for row in candidates):
        raise InputError(
            f"group_from (--group-from) {pattern!r} matches none of the {len(candidates):,} paths, "
            f"for example {escape_path(candidates[0].path)}; correct the regular expression"
        )
    return grouped


def check_one_source(column: str | None, pattern: str | None, groups: object) -> None:
    """Raise InputError if groups are given in more than one way."""
    given = [
        name
        for name, value in (
            ("groups=", groups),
            ("group_column= (--group-column)", column),
            ("group_from= (--group-from)", pattern),
        )
        if value is not None
    ]
    if len(given) > 1:
        raise InputError(f"groups are given twice, by {' and '.join(given)}; give one of them")


def check_any_group(rows: Iterable[Row], source: str) -> None:
    """Raise InputError if no row has a group, although `source` should give them."""
    if not any(row.group is not None for row in rows):
        raise InputError(f"{source} gives no image a group: every value is empty; fill it in")


def refuse_split_groups(rows: Sequence[Row]) -> list[Row]:
    """Refuse the training rows of groups that have test images; the order of rows stays.

    A model must not be trained on a group that it is tested on. Without a test split, the images of
    the val split are the test.

    Raises:
        InputError: No labelled training row would be left.
    """
    used = [row for row in rows if row.status == "used"]
    test = "test" if any(row.split == "test" for row in used) else "val"
    tested = {str(row.group): row.path for row in reversed(used) if row.split == test and row.group}
    is_shared = [row.status == "used" and row.split != test and row.group in tested for row in rows]
    learned = [i for i, row in enumerate(rows) if _is_learned(row, test)]
    if learned and all(is_shared[i] for i in learned):
        name = str(rows[learned[0]].group)
        raise InputError(
            f"every group of the training images also has images in the {test} split (for example "
            f"{escape_path(name)}), so nothing would be left to learn from; put each group into "
            f"one split, or leave the {test} split out"
        )
    return [
        replace(
            row,
            status="refused",
            reason=SPLIT_REASON,
            detail=f"group {row.group}, also {tested[str(row.group)]}",
        )
        if shared
        else row
        for row, shared in zip(rows, is_shared, strict=True)
    ]


def _is_learned(row: Row, test: str) -> bool:
    return row.status == "used" and row.split != test and row.label is not None
