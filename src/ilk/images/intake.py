"""Read a folder, table or list into one row per file."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from ilk.core.errors import InputError, NoImages
from ilk.core.progress import Progress, silent_progress
from ilk.images import frames, threads
from ilk.images.contents import AnyContent, count_pixels, inspect_content
from ilk.images.contrast import CONTRAST, find_low_contrast, note_contrast
from ilk.images.decode import decode
from ilk.images.duplicates import refuse_duplicates, unify_spellings
from ilk.images.exclude import Exclusion
from ilk.images.files import inspect_file
from ilk.images.finish import finish_rows
from ilk.images.formats import MAX_PIXELS, mute_pillow_warnings
from ilk.images.frames import is_frame
from ilk.images.groups import (
    assign_groups,
    assign_groups_from_paths,
    check_any_group,
    check_one_source,
    check_pattern,
    refuse_split_groups,
)
from ilk.images.hints import find_better_source, find_missing
from ilk.images.inputs import iter_inputs, to_input
from ilk.images.label_columns import (
    check_single_labels,
    describe_separator,
    parse_sets,
    with_labels,
)
from ilk.images.label_lists import list_labels
from ilk.images.label_values import parse_labels
from ilk.images.layout import find_empty_folders
from ilk.images.memory import pixel_budget
from ilk.images.memory_cache import MemoryCache
from ilk.images.option_types import check_text
from ilk.images.pages import check_pages
from ilk.images.part_paths import describe_part
from ilk.images.pixel_duplicates import refuse_pixel_duplicates
from ilk.images.pixel_summary import PixelSummary, summarize_pixels
from ilk.images.ranges import MeasurementCache
from ilk.images.reading import Reading
from ilk.images.refused import ImageError
from ilk.images.rows import Images, Row, escape_path
from ilk.images.source_rows import SourceRows, find_walked_folders, read_special_source
from ilk.images.sources import SINGLE_KINDS, Kind, check_regular, find_kind, find_several
from ilk.images.tables import (
    LIST_SUFFIXES,
    TABLE_SUFFIXES,
    Columns,
    read_list,
)
from ilk.images.value_range import parse_value_range

DecodeResult = tuple[str, str]  # reason ("" if it can be decoded), detail


class DecodeCache(MeasurementCache, Protocol):
    """The part of a store that intake uses: what decoding gave, by content."""

    def get_decode_results(self, digests: Iterable[str], /) -> dict[str, DecodeResult]: ...
    def put_decode_results(self, results: dict[str, DecodeResult], /) -> None: ...
    def get_pixel_digests(self, digests: Iterable[str], /) -> Mapping[str, str]: ...
    def put_pixel_summaries(self, summaries: Mapping[str, PixelSummary], /) -> None: ...


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
        source: A folder (see `ilk.images.layout`); a table (.csv, .tsv, .jsonl, .parquet, or a
            DataFrame) with a column of paths, one of labels and optionally `split`; a .txt list of
            paths; a zip or tar archive or a pattern such as `photos/**/*.jpg`, which are read like
            a folder; `-` for paths from standard input; an image; several of these in a list, each
            with its own labels; or several images, each a path, the bytes of a file, an open binary
            file, a Pillow image or a uint8 array `[h, w]` or `[h, w, c]`; or an array `[n, h, w,
            c]`. Paths in a table or list are relative to its folder; images in memory stay there,
            and their rows are called `image 0`, `image 1`, ….
        labels: For several images: one class name per image, None where unknown.
        path_column: The table's column of paths, if it has none of the usual names.
        label_column: The table's column of labels, if it has none of the usual names.
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
    root, rows, contents, notes = _list_rows(source, labels, reading)
    if groups is not None:
        rows = _attach_groups(source, rows, groups)
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


def verify_images(
    images: Images,
    *,
    max_pixels: int = MAX_PIXELS,
    store: DecodeCache | None = None,
    progress: Progress = silent_progress,
) -> Images:
    """Decode every used image; refuse those that cannot be decoded and those that appear twice.

    The same picture in several files is found by its pixels; see `refuse_pixel_duplicates`.

    Args:
        images: Images to verify.
        max_pixels: Width × height above which an image is refused without decoding.
        store: Cache of decode results, so that no content is decoded twice.
        progress: Reports the number of decoded images.
    """
    cache = store if store is not None else MemoryCache()
    images = images.refuse(_find_failures(images, max_pixels, cache, progress))
    return note_contrast(refuse_pixel_duplicates(images, cache), cache)


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


def _list_rows(source: Any, labels: Sequence[Any] | None, reading: Reading) -> SourceRows:
    """Return one uninspected row per image, the root of their paths and the images in memory."""
    columns = reading.columns
    if not isinstance(source, str | os.PathLike):
        return _list_inputs(source, labels, reading)
    path = Path(os.fsdecode(source))
    if (source_kind := find_kind(source)) in ("archive", "glob", "standard input"):
        if labels is not None:
            raise InputError(
                f"labels= is for a list of images; {escape_path(path)} stands for several, whose "
                "order is not yours"
            )
        listed = read_special_source(os.fsdecode(source), source_kind, reading)
        if source_kind == "standard input":
            _attach_labels(listed.rows, None, columns)
        return listed
    kind = path.suffix.casefold()
    if not os.path.exists(path):
        raise InputError(
            f"there is no folder or file {escape_path(path)} "
            f"(working directory: {escape_path(Path.cwd())})"
        )
    if labels is not None and (path.is_dir() or kind in TABLE_SUFFIXES):
        raise InputError(
            f"labels= is for a list of images; {escape_path(path)} has labels of its own"
        )
    if path.is_dir():
        return SourceRows(path, reading.read_folder(path), {})
    if kind in TABLE_SUFFIXES:
        return SourceRows(path.parent, reading.read_table(check_regular(path)), {})
    rows = read_list(check_regular(path)) if kind in LIST_SUFFIXES else [Row(path.name)]
    rows = reading.exclusion.apply(_attach_labels(rows, labels, columns))
    return SourceRows(path.parent, rows, {})


def _check_separator(separator: str, multi_label: bool | None) -> bool:
    """Return that the source is multi-label, which a separator implies."""
    if not separator or multi_label is False:
        raise InputError(
            "label_separator is the text between several labels, such as ';'; "
            "leave it out for one label per image"
        )
    return True


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
            part = _list_rows(value, None, reading)
        contents |= {len(rows) + j: content for j, content in part.contents.items()}
        rows += [replace(row, path=Path(part.root or "", row.path).as_posix()) for row in part.rows]
        notes += part.notes
    return SourceRows(None, rows, contents, notes)


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


def _attach_groups(source: Any, rows: list[Row], groups: Sequence[Any]) -> list[Row]:
    """Return the rows of several images with their groups.

    Raises:
        InputError: The source is a folder or a table, or `groups` has another length.
    """
    kinds = ("folder", "table", "archive", "glob", "standard input")
    if isinstance(source, str | os.PathLike) and find_kind(source) in kinds:
        raise InputError(
            "groups= is for a list of images, in your order; give the column of a table with "
            "group_column= (--group-column), or the part of the paths with group_from= "
            "(--group-from)"
        )
    grouped = assign_groups(rows, list_labels(groups, "groups"))
    check_any_group(grouped, "groups=")
    return grouped


def _find_failures(
    images: Images, max_pixels: int, cache: DecodeCache, progress: Progress
) -> dict[str, DecodeResult]:
    """Decode the used images; return the failures by digest. Summaries go to the cache."""
    digests = [row.digest for row in images.used]
    results, summarized = cache.get_decode_results(digests), cache.get_pixel_digests(digests)
    results = {d: result for d, result in results.items() if result[0] or d in summarized}
    pending = [row for row in images.used if row.digest not in results]

    def decode_row(row: Row) -> tuple[str, DecodeResult, bool, PixelSummary | None]:
        try:
            with pixel_budget.reserve(count_pixels(row)):
                image = decode(images.source_of(row), max_pixels, **row.reading)
                contrast.update(find_low_contrast(row, image))
                summary = summarize_pixels(image)
        except ImageError as error:
            # Results that depend on a limit or on the moment are not cached.
            permanent = error.is_permanent and error.reason in ("truncated", "unreadable")
            return row.digest, (error.reason, error.detail), permanent, None
        return row.digest, ("", ""), True, summary

    contrast: dict[str, tuple[float, float]] = {}
    unsaved: dict[str, DecodeResult] = {}
    summaries: dict[str, PixelSummary] = {}

    def save() -> None:
        cache.put_pixel_summaries(summaries)
        cache.put_decode_results(unsaved)
        summaries.clear()
        unsaved.clear()

    with progress("decoding", len(pending)) as advance, mute_pillow_warnings():
        try:
            for digest, result, permanent, summary in threads.map_threaded(
                decode_row, pending, advance
            ):
                results[digest] = result
                unsaved.update({digest: result} if permanent else {})
                summaries.update({digest: summary} if summary else {})
                if len(unsaved) >= threads.BATCH_SIZE * threads.MAX_PENDING_BATCHES:
                    save()
        finally:
            if unsaved or summaries:
                save()
            if contrast:
                cache.put_measurements(CONTRAST, contrast)
    return {digest: result for digest, result in results.items() if result[0]}


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
    summary = ", ".join(f"{n} {reason}" for reason, n in reasons.most_common())
    return NoImages(
        f"none of the {len(images.rows)} files in {name} can be used as an image ({summary}; "
        f"for example {example}); JPEG, PNG, WebP, GIF, BMP and TIFF are read"
    )
