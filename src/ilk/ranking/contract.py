"""What a score of an encoder owes, and the ground that all of them stand on."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ilk.data import Labels
from ilk.errors import InputError, NoLabels
from ilk.maths.axes import principal

Matrix = NDArray[np.float64]


class Transferability(Protocol):
    """A score of an encoder on labelled images, made without fitting a classifier.

    Attributes:
        NAME: What it is called in tables.
        READS: "features" of the encoder `[n, d]`, or what the classifier that it was pretrained
            with says, as probabilities of its own classes `[n, z]` ("source").
    """

    NAME: str
    READS: Literal["features", "source"]

    def score(self, x: NDArray[Any], y: Labels, /) -> float:
        """The score of rows `x` with labels `y [n]`, -1 where unknown; higher is better.

        Raises:
            NoLabels, InputError: As `labelled` says.
        """
        ...


@cache
def available() -> dict[str, Transferability]:
    """Every score by name: the files beside this one that have a `score`."""
    found: dict[str, Transferability] = {}
    for info in iter_modules([str(Path(__file__).parent)]):
        module = import_module(f"ilk.ranking.{info.name}")
        if hasattr(module, "score"):
            found[module.NAME] = module
    return found


def labelled(x: NDArray[Any], y: Labels) -> tuple[Matrix, Labels]:
    """The labelled rows in float64, and their classes counted from 0 without a gap.

    Raises:
        NoLabels: No row has a label.
        InputError: There is one class only, the two do not fit, or a number is not finite.
    """
    x, y = np.asarray(x), np.asarray(y, np.int64)
    if x.ndim != 2 or y.shape != (len(x),):
        raise InputError(f"rows of shape {x.shape} and labels of shape {y.shape} do not fit")
    known = y >= 0
    if not known.any():
        raise NoLabels("encoders are ranked by labelled images and there are none; label a few")
    classes, index = np.unique(y[known], return_inverse=True)
    if len(classes) < 2:
        raise InputError("every labelled image is of one class; ranking encoders needs two")
    rows = x[known].astype(np.float64)
    if not np.isfinite(rows).all():
        raise InputError("some features are not finite; take another encoder or precision")
    return rows, index.astype(np.int64)


def probabilities(p: NDArray[Any], y: Labels) -> tuple[Matrix, Labels]:
    """As `labelled`, for rows that must be probabilities.

    Raises:
        InputError: A row has a negative number, or does not sum to 1.
    """
    rows, y = labelled(p, y)
    if rows.min() < 0 or np.abs(rows.sum(1) - 1).max() > 1e-3:
        raise InputError(
            "the source head's rows are no probabilities; give a softmax of its logits"
        )
    return rows, y


def equalised(x: NDArray[Any], width: int) -> Matrix:
    """Rows in their leading `width` principal axes, scaled so that the mean variance is 1.

    The control for scores that depend on the number of features or their scale: `[n, width]`.

    Raises:
        InputError: Rows do not spread in so many directions.
    """
    found = principal(np.asarray(x, np.float64))
    if found.scores.shape[1] < width:
        raise InputError(
            f"{len(x)} rows of {x.shape[1]} features spread in {found.scores.shape[1]} directions, "
            f"fewer than the {width} asked for; ask for fewer"
        )
    scores = found.scores[:, :width]
    return np.asarray(scores / np.sqrt(np.mean(scores**2)))
