"""Split images into training, held-out and unlabelled images."""

from __future__ import annotations

import hashlib
import posixpath
from collections import Counter
from dataclasses import dataclass

from ilk.core.data import Labels
from ilk.core.errors import InputError, NoLabels
from ilk.core.ordered_classes import sort_classes
from ilk.fitting.config import FitConfig
from ilk.images import Images, Row
from ilk.images.labelled_rows import encode_labels

DETECT_HINT = "to detect images that are unlike this class: ilk detect fit DIR --out detector"


@dataclass(frozen=True)
class Split:
    """Images divided by their role in a fit.

    Attributes:
        train: Labelled images for training; cross-validation uses these only.
        held_out: Labelled images that are scored once, at the end; may be empty.
        unlabelled: Images without a label.
        novel: Held-out images of classes that have no training image.
        held_out_name: Name of the held-out split, "test" or "val".
        classes: Class names, sorted.
    """

    train: tuple[Row, ...]
    held_out: tuple[Row, ...]
    unlabelled: tuple[Row, ...]
    novel: tuple[Row, ...]
    held_out_name: str
    classes: tuple[str, ...]

    def encode_labels(self, rows: tuple[Row, ...]) -> Labels:
        """Return the class index of each row, `[n]` int64; -1 for a row without a label."""
        return encode_labels(rows, self.classes)

    def count_labels(self, rows: tuple[Row, ...]) -> list[int]:
        """Return the number of rows of each class."""
        n = Counter(row.label for row in rows)
        return [n[name] for name in self.classes]


def split_images(images: Images, config: FitConfig) -> Split:
    """Split images by their role.

    The test split is held out. Without a test split, the val split is held out; with one, the val
    split is used for training.

    Raises:
        NoImages: No file can be used.
        NoLabels: There are no labels and no class names.
        InputError: There is only one class.
    """
    classes = list_classes(images, config)
    held_out_name = _choose_held_out(images)
    labelled = [row for row in images.used if row.label is not None]
    held_out = [row for row in labelled if row.split == held_out_name]
    tested_groups = {row.group for row in held_out} - {None}  # whose images nothing learns from
    return Split(
        train=tuple(row for row in labelled if row.split != held_out_name),
        held_out=tuple(row for row in held_out if row.label in classes),
        unlabelled=tuple(
            row for row in images.used if row.label is None and row.group not in tested_groups
        ),
        novel=tuple(row for row in held_out if row.label not in classes),
        held_out_name=held_out_name,
        classes=classes,
    )


def list_classes(images: Images, config: FitConfig) -> tuple[str, ...]:
    """Return the names of all classes with a training image, and those of `config`, sorted.

    Ordered classes are sorted by their numbers.

    Raises:
        NoImages: No file can be used.
        NoLabels: There are no labels and no class names.
        InputError: There is only one class, or an ordered one is not a number.
    """
    images.check_not_empty()
    held_out_name = _choose_held_out(images)
    labels = [r.label for r in images.used if r.label is not None and r.split != held_out_name]
    classes = tuple(sorted({*labels, *config.classes}))
    if config.ordered:
        classes = sort_classes(classes)
    if not classes:
        raise NoLabels(
            f"{len(images.used)} images and no labels to learn from; {_advise(images)}, or name "
            "the classes for a first guess without labels: --class cat,dog"
        )
    if len(classes) == 1:
        raise InputError(
            f"there is only one class, {classes[0]!r} ({len(labels)} images); a classifier needs "
            f"at least two; {images.hint or DETECT_HINT}"
        )
    return classes


def _advise(images: Images) -> str:
    """Return how to give labels."""
    if images.hint:
        return f"{images.hint} Otherwise use one folder per class"
    if len({posixpath.dirname(row.path) for row in images.used}) > 1:
        return (
            "where images are listed, the names of their folders are not labels: give the folder "
            "itself, a quoted pattern such as 'photos/*/*.jpg', or a table of paths and labels"
        )
    return "use one folder per class"


def _choose_held_out(images: Images) -> str:
    splits = {row.split for row in images.used if row.label is not None}
    return "test" if "test" in splits else "val"


def fingerprint_images(images: Images) -> str:
    """Return the SHA-256 of contents, labels, splits and groups of used images, in any order."""
    rows = sorted(
        (row.digest, row.label or "", row.split, *filter(None, [row.group])) for row in images.used
    )
    text = "\n".join("\t".join(row) for row in rows)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
