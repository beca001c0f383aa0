"""The images of a folder, table or archive as a collection, encoded through the store."""

from __future__ import annotations

import os
from collections.abc import Callable, Set
from dataclasses import replace
from functools import partial
from typing import Any

from ilk.core.capabilities import Embeds, EmbedsText, ScoresClasses
from ilk.core.data import Labels
from ilk.core.errors import InputError
from ilk.core.progress import Progress, silent_progress
from ilk.encode import encode_images
from ilk.images import Images, Row, escape_path
from ilk.images.rows.row import COMPARED
from ilk.retrieval.collection import Collection
from ilk.retrieval.entries import Entry, join_labels
from ilk.retrieval.sources import OpenSource
from ilk.store import Store


def collect_images(
    images: Images,
    encoder: Embeds,
    store: Store,
    *,
    source: str = "",
    is_saved: bool = False,
    known: Set[str] = frozenset(),
    progress: Progress = silent_progress,
) -> OpenSource:
    """Return the images of a folder, encoded through the store.

    Files with the same bytes are one image with several paths, and their labels are joined.
    Features of `known` images are computed only if they are taken.

    Args:
        images: The images.
        encoder: Their encoder.
        store: Store of features.
        source: The folder that they come from, absolute.
        is_saved: Whether an index of them is saved, whose paths must hold in any working directory.
        known: Digests of images that a saved index holds, which can be decoded therefore.
        progress: Reports the number of encoded images.

    Raises:
        NoImages: No image can be decoded.
        InputError: The encoder is a classifier and gives no features.
    """
    check_encoder(encoder)
    images = accept_copies(images)
    unknown = replace(images, rows=tuple(r for r in images.rows if r.digest not in known))
    images = images.refuse(encode_images(unknown, [encoder], store, progress=progress))
    images.check_not_empty()
    entries = list_entries(images, os.path.abspath if is_saved else str)
    digests = [entry.digest for entry in entries]

    def take(positions: Labels) -> Any:
        chosen = [digests[int(i)] for i in positions]
        if late := known & set(chosen):
            _encode_late(images, late, encoder, store)
        return store.get(encoder.space, chosen)

    collection = Collection(
        entries,
        encoder.space,
        take,
        encoder.describe(),
        source,
        images.value_ranges,
        reads_text=isinstance(encoder, EmbedsText),
        notes=describe_refused(images),
    )
    return OpenSource(collection, encoder, partial(_find_picture, images, _map_rows(images)))


def _encode_late(images: Images, digests: Set[str], encoder: Embeds, store: Store) -> None:
    """Encode images that were taken for known.

    Raises:
        InputError: One of them cannot be decoded any more.
    """
    rows = tuple(row for row in images.used if row.digest in digests)
    for digest, (reason, detail) in encode_images(
        replace(images, rows=rows), [encoder], store
    ).items():
        path = next(row.path for row in rows if row.digest == digest)
        raise InputError(f"{escape_path(path)} cannot be read any more ({reason}, {detail})")


def check_encoder(encoder: Embeds) -> None:
    """Raise InputError if an encoder is a classifier, whose scores are not features."""
    if isinstance(encoder, ScoresClasses):
        raise InputError(
            f"{encoder.name} is a classifier and gives no features to compare; name another "
            "encoder with --encoder"
        )


def accept_copies(images: Images) -> Images:
    """Return the images with those used that intake refused only because of others."""
    return replace(
        images,
        rows=tuple(
            replace(row, status="used", reason="", detail="") if row.reason in COMPARED else row
            for row in images.rows
        ),
    )


def list_entries(images: Images, convert: Callable[[str], str] = str) -> tuple[Entry, ...]:
    """Return the used images, each content once, in the order of their first paths.

    Args:
        images: The images.
        convert: Is applied to paths of images that are files.
    """
    by_digest: dict[str, list[Row]] = {}
    for row in images.used:
        by_digest.setdefault(row.digest, []).append(row)

    def show(row: Row) -> str:
        path = str(images.shown_path_of(row))
        return path if row.digest in images.contents else convert(path)

    return tuple(
        Entry(
            digest,
            show(rows[0]),
            join_labels([name for row in rows for name in row.names]),
            tuple(show(row) for row in rows[1:]),
        )
        for digest, rows in by_digest.items()
    )


def describe_refused(images: Images) -> tuple[str, ...]:
    """Return a note on the files that cannot be searched, if there are any."""
    refused = images.refused
    if not refused:
        return ()
    first = f"{escape_path(refused[0].path)}: {refused[0].reason}"
    files = "1 file is" if len(refused) == 1 else f"{len(refused):,} files are"
    link = ": " if len(refused) == 1 else ", such as "
    return (f"{files} not searched{link}{first}",)


def _map_rows(images: Images) -> dict[str, Row]:
    return {row.digest: row for row in images.used}


def _find_picture(images: Images, rows: dict[str, Row], digest: str) -> Any:
    """Return what shows an image that is not just a file: a page, a member of an archive."""
    from ilk.images import ImageError, decode

    row = rows.get(digest)
    if row is None:
        return None
    if not any(row.reading.values()):
        return images.contents.get(digest)
    try:
        return decode(images.source_of(row), **row.reading)
    except ImageError:
        return None
