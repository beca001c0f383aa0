"""Read a folder, table or list into one row per file."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from ilk.core.errors import InputError, NoImages
from ilk.core.progress import Progress, silent_progress
from ilk.images import threads
from ilk.images.decode import decode
from ilk.images.duplicates import refuse_duplicates, unify_spellings
from ilk.images.files import inspect_file
from ilk.images.formats import MAX_PIXELS, mute_pillow_warnings
from ilk.images.layout import read_folder
from ilk.images.memory import pixel_budget
from ilk.images.refused import ImageError
from ilk.images.rows import Images, Row, escape_path
from ilk.images.tables import (
    LIST_SUFFIXES,
    TABLE_SUFFIXES,
    Columns,
    parse_label,
    read_list,
    read_table,
)

PathLike = str | os.PathLike[str]
DecodeResult = tuple[str, str]  # reason ("" if it can be decoded), detail


class DecodeCache(Protocol):
    """The part of a store that intake uses: decode results by content."""

    def get_decode_results(self, digests: Iterable[str], /) -> dict[str, DecodeResult]: ...
    def put_decode_results(self, results: dict[str, DecodeResult], /) -> None: ...


def read_images(
    source: PathLike | Iterable[PathLike],
    *,
    labels: Sequence[Any] | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    merge_spellings: bool = False,
    verify: bool = True,
    max_pixels: int = MAX_PIXELS,
    store: DecodeCache | None = None,
    progress: Progress = silent_progress,
    source_name: str = "",
) -> Images:
    """Read every file of `source`; each becomes one row, used or refused with a reason.

    Args:
        source: A folder (see `ilk.images.layout`); a table (.csv, .tsv, .jsonl, .parquet) with a
            column of paths, one of labels and optionally `split`; a .txt list of paths; an image;
            or a sequence of paths. Paths in a table or list are relative to its folder.
        labels: For a list of paths: one class name per path, None where unknown.
        path_column: The table's column of paths, if it has none of the usual names.
        label_column: The table's column of labels, if it has none of the usual names.
        merge_spellings: Merge class names that differ only in spelling.
        verify: Decode every image, to find damaged files now.
        max_pixels: Width × height above which an image is refused without decoding.
        store: Cache of decode results, so that no content is decoded twice.
        progress: Reports the number of processed files.
        source_name: Name of a list of paths in messages, such as the folder they came from.

    Raises:
        InputError: The source cannot be read; the message says what to do.
        NoImages: No file can be used; the message gives the reasons.
        Unavailable: The source is a Parquet table and pyarrow is not installed.
    """
    root, rows = _list_rows(source, labels, Columns(path_column, label_column))
    name = source_name or "the list of paths"
    if isinstance(source, str | os.PathLike):
        name = escape_path(source)
    if not rows:
        raise NoImages(f"{name} is empty; it must hold images, preferably in one folder per class")
    rows = unify_spellings(rows, merge_spellings)

    def inspect_row(row: Row) -> Row:
        path = root / row.path if root is not None else row.path
        return inspect_file(path, row, max_pixels) if row.status == "used" else row

    with progress("inspecting files", len(rows)) as advance, mute_pillow_warnings():
        images = Images(
            root, tuple(refuse_duplicates(list(threads.map_threaded(inspect_row, rows, advance))))
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
    """Decode every used image and refuse those that cannot be decoded.

    Args:
        images: Images to verify.
        max_pixels: Width × height above which an image is refused without decoding.
        store: Cache of decode results, so that no content is decoded twice.
        progress: Reports the number of decoded images.
    """
    return images.refuse(_find_failures(images, max_pixels, store, progress))


def _list_rows(
    source: PathLike | Iterable[PathLike], labels: Sequence[Any] | None, columns: Columns
) -> tuple[Path | None, list[Row]]:
    """Return the root of the paths, and one uninspected row per file."""
    if not isinstance(source, str | os.PathLike):
        return None, _attach_labels([Row(_to_path(path)) for path in source], labels)
    path = Path(source)
    kind = path.suffix.casefold()
    if not os.path.exists(path):
        raise InputError(
            f"there is no folder or file {escape_path(path)} "
            f"(working directory: {escape_path(Path.cwd())})"
        )
    if labels is not None and (path.is_dir() or kind in TABLE_SUFFIXES):
        raise InputError(
            f"labels= is for a list of paths; {escape_path(path)} has labels of its own"
        )
    if path.is_dir():
        return path, read_folder(path, columns)
    if kind in TABLE_SUFFIXES:
        return path.parent, read_table(path, columns)
    rows = read_list(path) if kind in LIST_SUFFIXES else [Row(path.name)]
    return path.parent, _attach_labels(rows, labels)


def _to_path(path: object) -> str:
    if isinstance(path, str | bytes | os.PathLike):
        return os.fsdecode(path)
    raise InputError(f"a list of images must contain paths; {path!r} is a {type(path).__name__}")


def _attach_labels(rows: list[Row], labels: Sequence[Any] | None) -> list[Row]:
    if labels is None:
        return rows
    if len(labels) != len(rows):
        raise InputError(
            f"{len(labels)} labels for {len(rows)} paths; give one label per path, "
            "None where unknown"
        )
    return [Row(row.path, parse_label(label)) for row, label in zip(rows, labels, strict=True)]


def _find_failures(
    images: Images, max_pixels: int, store: DecodeCache | None, progress: Progress
) -> dict[str, DecodeResult]:
    """Decode the used images; return the failures by digest."""
    results = store.get_decode_results([row.digest for row in images.used]) if store else {}
    pending = [row for row in images.used if row.digest not in results]

    def decode_row(row: Row) -> tuple[str, DecodeResult, bool]:
        try:
            with pixel_budget.reserve(row.width * row.height):
                decode(images.path_of(row), max_pixels)
        except ImageError as error:
            # Results that depend on a limit or on the moment are not cached.
            permanent = error.is_permanent and error.reason in ("truncated", "unreadable")
            return row.digest, (error.reason, error.detail), permanent
        return row.digest, ("", ""), True

    unsaved: dict[str, DecodeResult] = {}
    with progress("decoding", len(pending)) as advance, mute_pillow_warnings():
        try:
            for digest, result, permanent in threads.map_threaded(decode_row, pending, advance):
                results[digest] = result
                unsaved.update({digest: result} if permanent else {})
                if store and len(unsaved) == threads.BATCH_SIZE * threads.MAX_PENDING_BATCHES:
                    store.put_decode_results(unsaved)
                    unsaved.clear()
        finally:
            if store and unsaved:
                store.put_decode_results(unsaved)
    return {digest: result for digest, result in results.items() if result[0]}


def _make_no_images_error(name: str, images: Images) -> InputError:
    """Build the error raised when no file is a usable image."""
    reasons = Counter(row.reason for row in images.rows)
    example = escape_path(images.rows[0].path)
    if set(reasons) == {"missing"}:
        start = "" if images.root is None else f" in {escape_path(images.root)}"
        return InputError(
            f"none of the {len(images.rows)} files that {name} lists exists (first: {example}, "
            f"searched{start}); correct the paths"
        )
    summary = ", ".join(f"{n} {reason}" for reason, n in reasons.most_common())
    return NoImages(
        f"none of the {len(images.rows)} files in {name} can be used as an image ({summary}; "
        f"for example {example}); JPEG, PNG, WebP, GIF, BMP and TIFF are read"
    )
