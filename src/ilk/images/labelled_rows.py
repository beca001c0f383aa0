"""The images of a source that have a label: which they are, their classes and a digest."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from ilk.core.data import Labels
from ilk.core.errors import NoLabels
from ilk.images.rows import Images, Row


def list_labelled(images: Images, why: str) -> tuple[list[Row], tuple[str, ...]]:
    """Return the used images with a label, and the names of their classes, sorted.

    Args:
        images: The images, each with one label at most.
        why: Why labels are needed, for the message.

    Raises:
        NoLabels: No image has one.
    """
    rows = [row for row in images.used if row.label is not None]
    if not rows:
        raise NoLabels(f"{len(images.used)} images and no labels; {why}: use one folder per class")
    return rows, tuple(sorted({str(row.label) for row in rows}))


def encode_labels(rows: Sequence[Row], classes: Sequence[str]) -> Labels:
    """Return the class of each image, `[n]` int64, -1 without a label; `classes` has all others."""
    column = {name: i for i, name in enumerate(classes)}
    return np.array([-1 if row.label is None else column[row.label] for row in rows], np.int64)


def digest_rows(rows: Sequence[Row]) -> str:
    """Return the SHA-256 of the contents, labels and groups of images, in their order."""
    text = "\n".join(f"{row.digest}\t{row.label}\t{row.group}" for row in rows)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
