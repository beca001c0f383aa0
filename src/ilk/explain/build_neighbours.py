"""Collect the training images that are kept beside a model: a bounded number, class by class.

How many pictures are made is bounded by their pixels, not by time, so that a repeated fit writes
the same file.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ilk.core import threaded_map as threads
from ilk.core.data import Features
from ilk.core.progress import silent_progress
from ilk.core.space import FeatureSpace
from ilk.explain.neighbours import NeighbourIndex
from ilk.images import ImageError, Images, Row, decode

MAX_ROWS = 2_000
MAX_VALUES = 8_000_000  # feature values: 16 MB
MAX_PIXELS = 150_000_000  # to be decoded for pictures; a JPEG is decoded at an eighth of its size
JPEG_COST = 0.25  # of decoding it at an eighth, relative to its full size
SIDE, QUALITY = 96, 75  # pixels of a picture, and of its JPEG
MAX_BYTES = 15_000_000  # of pictures


def choose_rows(labels: Sequence[str], max_rows: int) -> list[int]:
    """Return at most `max_rows` positions, in turns of the labels, evenly spaced in each."""
    by_label: dict[str, list[int]] = {}
    for i, label in enumerate(labels):
        by_label.setdefault(label, []).append(i)
    spread = [_spread(rows, max_rows) for _, rows in sorted(by_label.items())]
    chosen: list[int] = []
    for turn in range(max(map(len, spread), default=0)):
        for rows in spread:
            if turn < len(rows) and len(chosen) < max_rows:
                chosen.append(rows[turn])
    return chosen


def _spread(rows: list[int], n: int) -> list[int]:
    """Return `n` of the rows, evenly spaced, or all of them."""
    places = np.unique(np.linspace(0, len(rows) - 1, min(n, len(rows))).round().astype(int))
    return [rows[i] for i in places]


def build_index(
    images: Images,
    rows: Sequence[Row],
    labels: Sequence[str],
    space: FeatureSpace,
    features: Features,
    *,
    thumbnails: bool = True,
) -> NeighbourIndex:
    """Return the index of rows that `choose_rows` chose.

    Args:
        images: The images that contain the rows.
        rows: The chosen rows, `n` of them.
        labels: Their labels.
        space: Feature space of the classifier's encoder.
        features: Their features, `[n, d]`.
        thumbnails: Whether to keep a small picture of each, as far as the bounds allow.
    """
    pictures = _make_pictures(images, rows) if thumbnails else [b""] * len(rows)
    largest = float(np.finfo(np.float16).max)
    return NeighbourIndex(
        np.clip(features, -largest, largest).astype(np.float16),
        tuple(labels),
        tuple(str(images.shown_path_of(row)) for row in rows),
        tuple(row.digest for row in rows),
        tuple(pictures),
        space.key,
    )


def extend_index(
    index: NeighbourIndex,
    images: Images,
    rows: Sequence[Row],
    labels: Sequence[str],
    space: FeatureSpace,
    features: Features,
) -> NeighbourIndex:
    """Return an index with further images, balanced over classes again.

    Pictures are made if the index has any.

    Args:
        index: What the model keeps.
        images: The images that contain the rows.
        rows: The added rows, `n` of them.
        labels: Their labels.
        space: Feature space of the classifier's encoder.
        features: Their features, `[n, d]`.
    """
    limit = count_rows(space.dim)
    chosen = choose_rows(labels, limit)
    added = build_index(
        images,
        [rows[i] for i in chosen],
        [labels[i] for i in chosen],
        space,
        features[chosen],
        thumbnails=any(index.thumbnails) or not len(index),
    )
    both = NeighbourIndex(
        np.concatenate([index.features, added.features]),
        index.labels + added.labels,
        index.paths + added.paths,
        index.digests + added.digests,
        index.thumbnails + added.thumbnails,
        space.key,
    )
    return both.take(choose_rows(both.labels, limit))


def count_rows(dim: int) -> int:
    """Return how many rows of `dim` features are kept, at most."""
    return max(1, min(MAX_ROWS, MAX_VALUES // max(dim, 1)))


def _make_pictures(images: Images, rows: Sequence[Row]) -> list[bytes]:
    cost = 0.0
    wanted: list[Row] = []
    for row in rows:
        cost += row.width * row.height * (JPEG_COST if _is_plain_jpeg(row) else 1.0)
        if cost > MAX_PIXELS and wanted:
            break
        wanted.append(row)
    with silent_progress("", len(wanted)) as advance:
        made = list(threads.map_threaded(lambda row: make_picture(images, row), wanted, advance))
    pictures, total = [b""] * len(rows), 0
    for i, content in enumerate(made):
        total += len(content)
        if total > MAX_BYTES:
            break
        pictures[i] = content
    return pictures


def make_picture(images: Images, row: Row) -> bytes:
    """Return an image as a small JPEG; empty if it cannot be decoded any more."""
    try:
        source = images.source_of(row)
        if _is_plain_jpeg(row) and isinstance(source, Path):
            with Image.open(source) as file:
                file.draft("RGB", (SIDE, SIDE))
                picture = ImageOps.exif_transpose(file).convert("RGB")
        else:
            picture = decode(source, **row.reading)
        picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        out = io.BytesIO()
        picture.save(out, "jpeg", quality=QUALITY)
        return out.getvalue()
    except (ImageError, OSError, ValueError, Image.DecompressionBombError):
        return b""


def _is_plain_jpeg(row: Row) -> bool:
    return row.format == "JPEG" and not any(row.reading.values())
