"""Division of labelled images: trained on, validation, held out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.core.errors import InputError
from ilk.images import Images, Row, number_row_groups
from ilk.images.labelled_rows import encode_labels, list_labelled
from ilk.maths.folds import assign_folds
from ilk.maths.held_out import draw_held_out

HOLD_OUT = (1 / 5, 1 / 4, 1 / 3)  # the first of them that gives enough images
MIN_HELD_OUT = 50  # images that `ilk fit` needs to evaluate an encoder on
N_FOLDS = 5  # one of which is the validation part
MIN_VALIDATION = 8  # images


@dataclass(frozen=True, eq=False)
class Division:
    """Labelled images in three parts.

    Attributes:
        rows: The images, n.
        classes: Class names.
        y: Class of each image, `[n]`.
        groups: Group of each image, `[n]`; -1 for a group of its own.
        train: Positions that are trained on.
        validation: Positions that end the training and choose the variant.
        held_out: Positions that took no part; may be empty.
        n_unlabelled: Number of images without a label, which are not used.
    """

    rows: tuple[Row, ...]
    classes: tuple[str, ...]
    y: Labels
    groups: Labels
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    held_out: NDArray[np.int64]
    n_unlabelled: int

    @property
    def known(self) -> NDArray[np.int64]:
        """Positions that training or choosing saw, `[m]`."""
        return np.sort(np.concatenate([self.train, self.validation]))

    @property
    def digests(self) -> list[str]:
        """SHA-256 of each image."""
        return [row.digest for row in self.rows]


def divide(images: Images, hold_out: float | None, seed: int) -> Division:
    """Divide the labelled images; groups and copies of one file stay together.

    Args:
        images: Images; those without a label are not used.
        hold_out: Fraction that takes no part in training; None is a fifth, or more where that is
            fewer than `MIN_HELD_OUT` images.
        seed: Seed of the division.

    Raises:
        NoLabels: There are no labels.
        InputError: There is one class only, or too few images.
    """
    labelled, classes = list_labelled(images, "a network is tuned on labelled images")
    rows = tuple(labelled)
    if len(classes) < 2:
        raise InputError(
            f"all {len(rows)} labelled images are {classes[0]!r}, and a network is tuned to tell "
            "classes apart; add images of another class"
        )
    y = encode_labels(rows, classes)
    groups = number_row_groups(rows)
    for fraction in HOLD_OUT if hold_out is None else (hold_out,):
        is_held_out = draw_held_out(y, groups, fraction, seed)
        if is_held_out.sum() >= MIN_HELD_OUT:
            break
    rest = np.flatnonzero(~is_held_out)
    fold = assign_folds(y[rest], N_FOLDS, seed + 1, groups[rest]) if len(rest) else rest
    train, validation = rest[fold != 0], rest[fold == 0]
    train = np.random.default_rng(seed).permutation(train)  # so that the first ones are a sample
    missing = set(range(len(classes))) - set(y[train].tolist())
    if len(validation) < MIN_VALIDATION or missing:
        named = f"; none of {classes[min(missing)]!r} would be left to train on" if missing else ""
        raise InputError(
            f"{len(rest)} labelled images are too few to tune on: {len(validation)} of them would "
            f"form the validation part, and {MIN_VALIDATION} are needed{named}; label more images, "
            "or use the encoder as it is"
        )
    return Division(
        rows,
        classes,
        y,
        groups,
        train,
        validation,
        np.flatnonzero(is_held_out),
        len(images.used) - len(rows),
    )
