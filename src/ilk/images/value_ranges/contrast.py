"""Images that show next to nothing: near-constant ones, whatever the reason.

A dark frame, a blank page, or values that fill a small part of the range that they are stored in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np
from PIL import Image

from ilk.images.decoding.samples import is_deep
from ilk.images.rows import Images, Row, escape_path

CONTRAST = "contrast"  # name of the measurement in the store: deviation, number of grey levels
NEAR_CONSTANT = "near-constant: hardly any difference between pixels is left"
MIN_DEVIATION = 1.0  # grey levels of 255; below, an image counts as near-constant
MIN_LEVELS = 16  # grey levels that images of more than 8 bits should have
SAMPLE_SIDE = 64  # pixels that are looked at first, along each side
AMPLE_DEVIATION = 4.0  # of the sample: no need to look at all pixels


class ContrastCache(Protocol):
    """The part of a store that keeps measurements."""

    def get_measurements(
        self, name: str, digests: Iterable[str], /
    ) -> dict[str, tuple[float, float]]: ...


def find_low_contrast(row: Row, image: Image.Image) -> Mapping[str, tuple[float, float]]:
    """Return deviation and number of grey levels by digest if `image` is near-constant, else {}.

    Args:
        row: Its row.
        image: The decoded image, RGB.
    """
    steps = [max(1, side // SAMPLE_SIDE) for side in image.size]
    if not is_deep(row.mode):
        size = (max(1, image.width // steps[0]), max(1, image.height // steps[1]))
        few = np.asarray(image.resize(size, Image.Resampling.NEAREST) if max(steps) > 1 else image)
        if few.reshape(-1, 3).std(0).max() > AMPLE_DEVIATION:
            return {}
    histograms = np.reshape(image.histogram(), (3, 256))
    share = histograms / histograms.sum(1, keepdims=True)
    levels = np.arange(256)
    mean = (share * levels).sum(1)
    deviation = float(np.sqrt((share * levels**2).sum(1) - mean**2).max())
    n_levels = int((histograms > 0).sum(1).max())
    is_low = deviation < MIN_DEVIATION or (is_deep(row.mode) and n_levels < MIN_LEVELS)
    return {row.digest: (deviation, float(n_levels))} if is_low else {}


def find_near_constant(images: Images, store: ContrastCache | None) -> list[Row]:
    """Return the used rows that were near-constant when they were decoded."""
    if store is None:
        return []
    known = store.get_measurements(CONTRAST, [row.digest for row in images.used])
    return [row for row in images.used if row.digest in known]


def mark_near_constant(images: Images, store: ContrastCache | None) -> Images:
    """Say in the detail of a used row that its image is near-constant."""
    if not (flat := {row.digest for row in find_near_constant(images, store)}):
        return images
    rows = [
        replace(row, detail="; ".join(filter(None, (row.detail, NEAR_CONSTANT))))
        if row.status == "used" and row.digest in flat
        else row
        for row in images.rows
    ]
    return replace(images, rows=tuple(rows))


def describe_near_constant(rows: list[Row], n: int) -> str:
    """Return a note on near-constant images, `rows` of `n`; "" if there are none."""
    if not rows:
        return ""
    verb = "is" if len(rows) == 1 else "are"
    subject = f"{len(rows):,} of {n:,} images {verb}" if n > 1 else "the image is"
    remedy = "look at them" if n > 1 else "look at it"
    if any(is_deep(row.mode) for row in rows):
        remedy += ", and at --value-range"
    return (
        f"{subject} near-constant, such as {escape_path(rows[0].path)}: hardly any difference "
        f"between pixels is left; {remedy}"
    )


def note_contrast(images: Images, store: ContrastCache | None) -> Images:
    """Add a note on near-constant images."""
    note = describe_near_constant(find_near_constant(images, store), len(images.used))
    if not note or note in images.notes:
        return images
    return replace(images, notes=(*images.notes, note))
