"""One row per image of a source, before any file is opened, with the labels given beside it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ilk.core.errors import InputError
from ilk.images.annotations.groups import (
    assign_groups,
    check_any_group,
)
from ilk.images.annotations.label_columns import (
    check_single_labels,
    parse_sets,
    with_labels,
)
from ilk.images.annotations.label_values import parse_labels
from ilk.images.inputs import iter_inputs, to_input
from ilk.images.inspection.contents import AnyContent
from ilk.images.rows import Images, Row, escape_path
from ilk.images.rows.addresses import is_address
from ilk.images.sources.buckets import open_remote
from ilk.images.sources.ilk_folders import check_no_ilk_folder
from ilk.images.sources.kinds import (
    SINGLE_KINDS,
    Kind,
    check_regular,
    find_kind,
    find_several,
    make_missing_error,
)
from ilk.images.sources.reading import Reading
from ilk.images.sources.special_sources import SourceRows, read_special_source
from ilk.images.tables import frames
from ilk.images.tables.frames import is_frame
from ilk.images.tables.label_lists import list_labels
from ilk.images.tables.read import read_list
from ilk.images.tables.requested_columns import Columns


def list_rows(source: Any, labels: Sequence[Any] | None, reading: Reading) -> SourceRows:
    """Return one uninspected row per image, the root of their paths and the images in memory.

    Images in buckets are opened like those in memory, which requests nothing yet.
    """
    listed = _list_rows(source, labels, reading)
    remote: dict[int, AnyContent] = {
        i: open_remote(row.path)
        for i, row in enumerate(listed.rows)
        if row.status == "used" and i not in listed.contents and is_address(row.path)
    }
    return listed._replace(contents=listed.contents | remote) if remote else listed


def _list_rows(source: Any, labels: Sequence[Any] | None, reading: Reading) -> SourceRows:
    columns = reading.columns
    if not isinstance(source, str | os.PathLike):
        return _list_inputs(source, labels, reading)
    path, kind = Path(os.fsdecode(source)), find_kind(source)
    if kind in ("archive", "glob", "bucket", "standard input"):
        if labels is not None:
            raise InputError(
                f"labels= is for a list of images; {escape_path(path)} stands for several, whose "
                "order is not yours"
            )
        listed = read_special_source(os.fsdecode(source), kind, reading)
        if kind == "standard input":
            _attach_labels(listed.rows, None, columns)
        return listed
    if not os.path.exists(path):
        raise make_missing_error(path)
    if labels is not None and kind in ("folder", "table"):
        raise InputError(
            f"labels= is for a list of images; {escape_path(path)} has labels of its own"
        )
    if kind == "folder":
        check_no_ilk_folder(path)
        return SourceRows(path, reading.read_folder(path), {})
    if kind == "table":
        return SourceRows(path.parent, reading.read_table(check_regular(path)), {})
    rows = read_list(check_regular(path)) if kind == "list" else [Row(path.name)]
    rows = reading.exclusion.apply(_attach_labels(rows, labels, columns))
    return SourceRows(path.parent, rows, {})


def _list_inputs(source: Any, labels: Sequence[Any] | None, reading: Reading) -> SourceRows:
    """Return one row per image of a list, array or DataFrame, and the images in memory."""
    if isinstance(source, Images):
        raise InputError("these images are already read; use them as they are")
    if is_frame(source):
        if labels is not None:
            raise InputError(f"labels= is for a list of images; {frames.NAME} has its own")
        rows = reading.exclusion.apply(
            frames.read_frame(source, reading.columns, reading.notes.append)
        )
        return SourceRows(None, rows, {})
    if labels is not None and isinstance(source, list | tuple):
        source = iter(source)  # one image each, as the labels
    if isinstance(source, list | tuple) and (kinds := find_several(source)):
        return _list_several(source, kinds, reading)
    inputs = list(iter_inputs(source))
    contents: dict[int, AnyContent] = {
        i: c for i, (_, c) in enumerate(inputs) if not isinstance(c, str)
    }
    rows = _attach_labels([Row(name) for name, _ in inputs], labels, reading.columns)
    return SourceRows(None, reading.exclusion.apply(rows), contents)


def _list_several(source: Sequence[Any], kinds: Sequence[Kind], reading: Reading) -> SourceRows:
    """Return the rows of several sources, each with the labels that it has of its own."""
    rows: list[Row] = []
    contents: dict[int, AnyContent] = {}
    notes: tuple[str, ...] = ()
    for i, (value, kind) in enumerate(zip(source, kinds, strict=True)):
        if kind in SINGLE_KINDS:
            image = to_input(value, f"image {i}")
            if isinstance(image, str):
                part = SourceRows(None, [Row(image)], {})
            else:
                part = SourceRows(None, [Row(f"image {i}")], {0: image})
        else:
            part = list_rows(value, None, reading)
        contents |= {len(rows) + j: content for j, content in part.contents.items()}
        rows += [_join_root(part.root, row) for row in part.rows]
        notes += part.notes
    return SourceRows(None, rows, contents, notes)


def _join_root(root: Path | None, row: Row) -> Row:
    is_whole = is_address(row.path)
    return row if is_whole else replace(row, path=Path(root or "", row.path).as_posix())


def _attach_labels(rows: list[Row], labels: Sequence[Any] | None, columns: Columns) -> list[Row]:
    if labels is None:
        if columns.multi_label:
            raise InputError("multi_label needs labels: a table, or a list of paths with labels=")
        if columns.split is not None:
            raise InputError("split_column is for tables; a list of images has no columns")
        return rows
    labels = list_labels(labels)
    if len(labels) != len(rows):
        raise InputError(
            f"{len(labels)} labels for {len(rows)} images; give one label per image, "
            "None where unknown"
        )
    if columns.multi_label:
        sets = parse_sets("labels", range(1, len(rows) + 1), labels, columns.separator)
        return [with_labels(row, one) for row, one in zip(rows, sets, strict=True)]
    names = parse_labels(labels)
    single = [replace(row, label=name) for row, name in zip(rows, names, strict=True)]
    if columns.multi_label is None:
        check_single_labels("the list of labels", labels, single)
    return single


def attach_groups(source: Any, rows: list[Row], groups: Sequence[Any]) -> list[Row]:
    """Return the rows of several images with their groups.

    Raises:
        InputError: The source is a folder or a table, or `groups` has another length.
    """
    kinds = ("folder", "table", "archive", "glob", "bucket", "standard input")
    if isinstance(source, str | os.PathLike) and find_kind(source) in kinds:
        raise InputError(
            "groups= is for a list of images, in your order; give the column of a table with "
            "group_column= (--group-column), or the part of the paths with group_from= "
            "(--group-from)"
        )
    grouped = assign_groups(rows, list_labels(groups, "groups"))
    check_any_group(grouped, "groups=")
    return grouped
