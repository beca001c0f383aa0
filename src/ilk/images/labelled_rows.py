"""The images of a source that have a label: which they are, and a digest of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

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


def digest_rows(rows: Sequence[Row]) -> str:
    """Return the SHA-256 of the contents, labels and groups of images, in their order."""
    text = "\n".join(f"{row.digest}\t{row.label}\t{row.group}" for row in rows)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
