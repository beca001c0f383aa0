"""The parts of the images: what the student is trained on, and what it is not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ilk.artifacts.classifier import Classifier
from ilk.core.data import Labels
from ilk.core.errors import InputError, NoLabels
from ilk.images import Images, Row, adopt_spellings, number_row_groups
from ilk.images.labelled_rows import encode_labels
from ilk.maths.folds import assign_folds

MIN_PART = 20  # labelled images that a held-out part needs
LEAST_FOLDS = 4  # of which two are held out


@dataclass(frozen=True, eq=False)
class Parts:
    """Images by their use.

    Attributes:
        train: Images that the student is trained on, labelled or not.
        validation: Labelled images that choose the state of the network.
        calibration: Labelled images that calibrate its answers.
        test: Labelled images of the test split, scored once; may be empty.
        classes: Class names of the teacher.
        notes: What was left out, one sentence each.
    """

    train: tuple[Row, ...]
    validation: tuple[Row, ...]
    calibration: tuple[Row, ...]
    test: tuple[Row, ...]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def encode_labels(self, rows: tuple[Row, ...]) -> Labels:
        """Return the class of each row, `[n]` int64, -1 without a label."""
        return encode_labels(rows, self.classes)

    @property
    def judged(self) -> tuple[Row, ...]:
        """The images that the student is judged on: the test split, or the calibration part."""
        return self.test or self.calibration

    @property
    def judged_name(self) -> str:
        """What `judged` is, in words."""
        if self.test:
            return "the test split, scored once"
        return "held-out images that the student was not trained on"


def divide_images(images: Images, teacher: Classifier, hold_out: float, seed: int) -> Parts:
    """Divide images by their use; groups of images stay together.

    A test split is kept for the end; a val split is the validation part. Images with a label that
    is not a class of the teacher are left out.

    Args:
        images: Images that can be used.
        teacher: The teacher.
        hold_out: Part of the labelled images that is held out, in (0, 0.5].
        seed: Seed of the draw.

    Raises:
        NoLabels: No image has a label.
        InputError: The labels are not classes of the teacher, or there are too few images for a
            held-out part.
    """
    images.check_not_empty()
    images, spelling_note = adopt_spellings(images, teacher.classes)
    labelled = [row for row in images.used if row.label is not None]
    known = [row for row in labelled if row.label in teacher.classes]
    _check_labels(images, teacher, len(labelled), len(known))
    test = tuple(row for row in known if row.split == "test")
    tested_groups = {row.group for row in test} - {None}
    pool = [row for row in known if row.split != "test" and row.group not in tested_groups]
    unlabelled = [
        row
        for row in images.used
        if row.label is None and row.split != "test" and row.group not in tested_groups
    ]
    parts = _assign_parts(pool, teacher.classes, hold_out, seed)
    train, validation, calibration = (
        tuple(row for row, part in zip(pool, parts, strict=True) if part == name)
        for name in ("train", "validation", "calibration")
    )
    held_out_groups = {row.group for row in (*validation, *calibration)} - {None}
    usable = [row for row in unlabelled if row.group not in held_out_groups]
    _check_sizes(len(pool), len(train), len(validation), len(calibration))
    notes = [spelling_note] if spelling_note else []
    if len(labelled) > len(known):
        names = sorted({str(row.label) for row in labelled} - set(teacher.classes))
        notes.append(
            f"{len(labelled) - len(known)} images have labels that are not classes of the teacher "
            f"({', '.join(names[:5])}) and are left out"
        )
    return Parts((*train, *usable), validation, calibration, test, teacher.classes, tuple(notes))


def _assign_parts(
    pool: list[Row], classes: tuple[str, ...], hold_out: float, seed: int
) -> list[str]:
    """Return the part of each row of the pool by name."""
    if not pool:
        return []
    y = encode_labels(pool, classes)
    groups = number_row_groups(pool)
    n_folds = max(LEAST_FOLDS, 2 * round(1 / hold_out))  # each held-out part is one fold
    has_val = any(row.split == "val" for row in pool)
    val_groups = {row.group for row in pool if row.split == "val"} - {None}
    is_val = np.array([row.split == "val" or row.group in val_groups for row in pool])
    fold = np.full(len(pool), -1)
    fold[~is_val] = assign_folds(y[~is_val], n_folds, seed, groups[~is_val])
    parts = []
    for f in fold.tolist():
        if f < 0:
            parts.append("validation")
        elif f == 0:
            parts.append("calibration")
        else:
            parts.append("validation" if f == 1 and not has_val else "train")
    return parts


def _check_labels(images: Images, teacher: Classifier, n_labelled: int, n_known: int) -> None:
    names = ", ".join(map(repr, teacher.classes[:5]))
    if not n_labelled:
        raise NoLabels(
            f"{len(images.used)} images and no labels: the student's answers are calibrated on "
            f"labelled images; label some, with one folder per class ({names})"
        )
    if not n_known:
        labels = ", ".join(map(repr, images.classes[:5]))
        raise InputError(
            f"no image has a label that is a class of the teacher; its classes are: {names}; the "
            f"labels are: {labels}{images.hint and '; '}{images.hint}"
        )


def _check_sizes(n: int, n_train: int, n_validation: int, n_calibration: int) -> None:
    if min(n_validation, n_calibration) < MIN_PART:
        advice = "label more, or raise --hold-out"
        if n < LEAST_FOLDS * MIN_PART:  # no fraction is enough
            advice = f"label more, at least {LEAST_FOLDS * MIN_PART} in total"
        raise InputError(
            f"{n} labelled images outside the test split are too few to hold out {MIN_PART} for "
            f"validation and {MIN_PART} for calibration (there would be {n_validation} and "
            f"{n_calibration}); {advice}"
        )
    if not n_train:
        raise InputError("no image is left to train on; give a train split, or more images")
