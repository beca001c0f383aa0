"""Read a folder, table or list into one row per file."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ilk.core import threaded_map as threads
from ilk.core.errors import InputError, NoImages
from ilk.core.option_types import check_text
from ilk.core.progress import Progress, silent_progress
from ilk.images.annotations.groups import (
    assign_groups_from_paths,
    check_any_group,
    check_one_source,
    check_pattern,
    refuse_split_groups,
)
from ilk.images.annotations.label_columns import (
    describe_separator,
)
from ilk.images.annotations.unify_spellings import unify_spellings
from ilk.images.decoding.formats import MAX_PIXELS, mute_pillow_warnings
from ilk.images.decoding.pages import check_pages
from ilk.images.duplicates.same_content import refuse_duplicates
from ilk.images.finish import finish_rows
from ilk.images.inspection.contents import inspect_content
from ilk.images.inspection.files import inspect_file
from ilk.images.list_rows import attach_groups, list_rows
from ilk.images.rows import DECODED, Images, Row, escape_path
from ilk.images.rows.part_paths import describe_part
from ilk.images.sources.exclude import Exclusion
from ilk.images.sources.hints import find_better_source, find_missing
from ilk.images.sources.ilk_folders import describe_model
from ilk.images.sources.layout import find_empty_folders
from ilk.images.sources.reading import Reading
from ilk.images.sources.special_sources import find_walked_folders
from ilk.images.tables.requested_columns import Columns
from ilk.images.value_ranges.value_range import parse_value_range
from ilk.images.verify import DecodeCache, verify_images


def read_images(
    source: Any,
    *,
    labels: Sequence[Any] | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    multi_label: bool | None = None,
    label_separator: str | None = None,
    groups: Sequence[Any] | None = None,
    group_column: str | None = None,
    group_from: str | None = None,
    merge_spellings: bool = False,
    verify: bool = True,
    max_pixels: int = MAX_PIXELS,
    store: DecodeCache | None = None,
    progress: Progress = silent_progress,
    source_name: str = "",
    split_column: str | None = None,
    exclude: Sequence[str] = (),
    value_range: Any = "auto",
    pages: str = "first",
) -> Images:
    """Read every file of `source`; each becomes one row, used or refused with a reason.

    Args:
        source: A folder (see `ilk.images.sources.layout`); a table (.csv, .tsv, .jsonl, .parquet,
            or a DataFrame) with a column of paths, one of labels and optionally `split`; a .txt
            list of paths; a zip or tar archive or a pattern such as `photos/**/*.jpg`, which are
            read like a folder; `-` for paths from standard input; an image; several of these in a
            list, each with its own labels; or several images, each a path, the bytes of a file, an
            open binary file, a Pillow image or a uint8 array `[h, w]` or `[h, w, c]`; or an array
            `[n, h, w, c]`. Paths in a table or list are relative to its folder; images in memory
            stay there, and their rows are called `image 0`, `image 1`, ….
        labels: For several images: one class name per image, None where unknown.
        path_column: The table's column of paths, if it has none of the usual names.
        label_column: The table's column of labels, if it has none of the usual names; "none" reads
            no labels.
        multi_label: Whether an image has a set of labels: names in one cell, one column of 0 and 1
            per label, or one line per image and label. None refuses tables that look like it.
        label_separator: Separator of several labels in one cell; None finds `;`, `|` or `,`.
        groups: For several images: the group of each (a patient, a video), None for an image on its
            own. A group is never on both sides of a split.
        group_column: The table's column of groups; an empty cell is an image on its own.
        group_from: Regular expression that finds the group in the path of an image, relative to the
            folder, with `/` as separator: what it captures, or the whole match.
        merge_spellings: Merge class names that differ only in spelling.
        verify: Decode every image, to find damaged files now.
        max_pixels: Width × height above which an image is refused without decoding.
        store: Cache of decode results, so that no content is decoded twice.
        progress: Reports the number of processed files.
        source_name: Name of a list of paths in messages, such as the folder they came from.
        split_column: The table's column that says what is held out: its name, or `fold:test=0` to
            say which of its values are, or "none". Without it, `split` and columns such as
            `is_valid`, `subset` and `Usage` are read where their values leave no doubt.
        exclude: Patterns of files to leave out, as in `.gitignore`: `*_mask.png`, `masks/`. They
            match the path relative to the folder or table.
        value_range: Stored values that are black and white in images of more than 8 bits:
            "LOW-HIGH", such as "0-4095", or a pair of numbers; "auto" finds the smallest standard
            range that holds all values of the source, which a model then keeps.
        pages: "first" uses the first page or frame of a file with several, "all" makes a row of
            each, called `scan.tif[2]`.

    Raises:
        InputError: The source cannot be read; the message says what to do.
        NoImages: No file can be used; the message gives the reasons.
        Unavailable: The source is a Parquet table and pyarrow is not installed.
    """
    check_text(
        path_column=path_column,
        label_column=label_column,
        group_column=group_column,
        split_column=split_column,
        label_separator=label_separator,
        group_from=group_from,
    )
    if label_separator is not None:
        multi_label = _check_separator(label_separator, multi_label)
    ranges = parse_value_range(value_range)
    check_pages(pages)
    check_one_source(group_column, group_from, groups)
    columns = Columns(
        path_column, label_column, multi_label, label_separator, split_column, group_column
    )
    if group_from is not None:
        check_pattern(group_from)
    reading = Reading(columns, Exclusion(exclude))
    root, rows, contents, notes = list_rows(source, labels, reading)
    if groups is not None:
        rows = attach_groups(source, rows, groups)
    if group_column is not None:
        check_any_group(rows, "group_column (--group-column), which is for tables,")
    name = source_name or "the list of images"
    if isinstance(source, str | os.PathLike):
        name = escape_path(source)
    if not rows:
        raise NoImages(f"{name} is empty; it must hold images, preferably in one folder per class")
    rows = unify_spellings(rows, merge_spellings)
    if group_from is not None:
        rows = assign_groups_from_paths(rows, group_from)

    def inspect_row(numbered: tuple[int, Row]) -> Row:
        i, row = numbered
        if row.status != "used":
            return row
        if i in contents:
            return inspect_content(contents[i], row, max_pixels)
        path = root / row.path if root is not None else row.path
        return inspect_file(path, row, max_pixels)

    with progress("inspecting files", len(rows)) as advance, mute_pillow_warnings():
        inspected = list(threads.map_threaded(inspect_row, list(enumerate(rows)), advance))
    images = finish_rows(
        root,
        inspected,
        contents,
        ranges,
        pages=pages,
        max_pixels=max_pixels,
        store=store,
        progress=progress,
    )
    notes = (
        *notes,
        *reading.notes,
        *_describe_source(source, inspected, columns),
        reading.exclusion.describe(),
        *images.notes,
    )
    images = replace(
        images,
        rows=tuple(refuse_split_groups(refuse_duplicates(images.rows))),
        notes=tuple(dict.fromkeys(filter(None, notes))),
        folders=find_walked_folders(source),
        hint=_find_hint(source, root, inspected, columns),
    )
    if verify:
        images = verify_images(images, max_pixels=max_pixels, store=store, progress=progress)
    if not images.used:
        raise _make_no_images_error(name, images)
    return images


def _describe_source(source: Any, rows: Sequence[Row], columns: Columns) -> list[str]:
    """Return notes on folders that add no class, and on class names that may be sets."""
    if isinstance(source, str | os.PathLike) and os.path.isdir(source):
        empty = find_empty_folders(Path(os.fsdecode(source)))
        names = ", ".join(map(escape_path, empty[:5]))
        return [f"empty folders, which add no class: {names}"] if empty else []
    if columns.multi_label is not None:
        return []
    return [describe_separator([row.label for row in rows if row.label is not None])]


def _find_hint(source: Any, root: Path | None, rows: Sequence[Row], columns: Columns) -> str:
    """Return the question whether something else than the folder `source` was meant, or ""."""
    is_folder = isinstance(source, str | os.PathLike) and os.path.isdir(source)
    if root is None or not is_folder or columns.is_given:
        return ""
    better = find_better_source(root, rows)
    return f"did you mean {escape_path(better)}?" if better else ""


def _check_separator(separator: str, multi_label: bool | None) -> bool:
    """Return that the source is multi-label, which a separator implies."""
    if not separator or multi_label is False:
        raise InputError(
            "label_separator is the text between several labels, such as ';'; "
            "leave it out for one label per image"
        )
    return True


def _make_no_images_error(name: str, images: Images) -> InputError:
    """Build the error raised when no file is a usable image."""
    reasons = Counter(row.reason for row in images.rows)
    example = escape_path(images.rows[0].path)
    if set(reasons) == {"missing"}:
        start = "" if images.root is None else f" in {escape_path(images.root)}"
        found = "" if images.root is None else find_missing(images.root, images.rows[0].path)
        advice = (
            f"there is {escape_path(found)}: write such paths" if found else "correct the paths"
        )
        advice = describe_part(str(images.path_of(images.rows[0]))) or advice
        return InputError(
            f"none of the {len(images.rows)} files that {name} lists exists (first: {example}, "
            f"searched{start}); {advice}"
        )
    if images.root is not None and (advice := describe_model(images.root)):
        return NoImages(advice)
    summary = ", ".join(f"{n} {reason}" for reason, n in reasons.most_common())
    is_decoded = set(reasons) & DECODED
    advice = "" if is_decoded else "; JPEG, PNG, WebP, GIF, BMP and TIFF are read"
    return NoImages(
        f"none of the {len(images.rows)} files in {name} can be used as an image ({summary}; "
        f"for example {example}){advice}"
    )
