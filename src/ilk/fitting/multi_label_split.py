"""Split multi-label images by their role, and choose the labels that can be learned."""

from __future__ import annotations

from dataclasses import dataclass

from ilk.artifacts.multi_label_evaluation import describe_unlabelled, encode_targets
from ilk.core.errors import InputError, NoLabels
from ilk.images import Images, Row

MIN_IMAGES = 2  # with and without a label, so that cross-validation can test it


@dataclass(frozen=True, eq=False)
class LabelSplit:
    """Images divided by their role in a fit.

    Attributes:
        train: Images for training; cross-validation uses these only.
        held_out: Images that are scored once, at the end; may be empty.
        unlabelled: Images whose labels are unknown; they are not used.
        held_out_name: Name of the held-out split, "test" or "val".
        classes: The labels that are learned, sorted.
        notes: What was left out.
    """

    train: tuple[Row, ...]
    held_out: tuple[Row, ...]
    unlabelled: tuple[Row, ...]
    held_out_name: str
    classes: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def evaluated_on(self) -> str:
        """Which images the classifier is evaluated on."""
        if self.held_out:
            return f"the {self.held_out_name} split, scored once"
        return "the training images, out of fold"


def split_labels(images: Images) -> LabelSplit:
    """Split images by their role, and choose the labels that can be learned.

    Raises:
        NoImages: No file can be used.
        NoLabels: No image has labels.
        InputError: The images have one label each, or no label can be learned.
    """
    images.check_not_empty()
    if not images.is_multi_label:
        raise InputError(
            "these images were not read as multi-label; read a table with "
            "ilk.read(table, multi_label=True) (--multi-label)"
        )
    labelled = [row for row in images.used if row.labels is not None]
    held_out_name = "test" if any(row.split == "test" for row in labelled) else "val"
    train = tuple(row for row in labelled if row.split != held_out_name)
    if not any(row.labels for row in train):
        raise NoLabels(f"{len(images.used)} images and no labels to learn from; label some of them")
    names = sorted({name for row in train for name in row.names})
    counts = encode_targets(train, names).sum(0)
    classes = tuple(
        name
        for name, n in zip(names, counts, strict=True)
        if MIN_IMAGES <= n <= len(train) - MIN_IMAGES
    )
    if not classes:
        raise InputError(
            f"none of the {len(names)} labels (such as {names[0]!r}) has at least {MIN_IMAGES} "
            f"images with and {MIN_IMAGES} without it, so nothing can be learned; label more images"
        )
    left_out = [name for name in names if name not in classes]
    unlabelled = tuple(row for row in images.used if row.labels is None)
    notes = [describe_unlabelled(len(unlabelled))]
    if left_out:
        notes.append(
            f"{len(left_out)} labels have fewer than {MIN_IMAGES} images with or without them and "
            f"are left out: {', '.join(left_out[:5])}"
        )
    held_out = tuple(row for row in labelled if row.split == held_out_name)
    if held_out and held_out_name == "val":
        notes.append("there is no test split, so the val split is held out")
    if new := sorted({name for row in held_out for name in row.names} - set(names)):
        notes.append(
            f"{len(new)} labels of the {held_out_name} split have no training image "
            f"({', '.join(new[:5])}) and are ignored"
        )
    return LabelSplit(
        train, held_out, unlabelled, held_out_name, classes, tuple(filter(None, notes))
    )
