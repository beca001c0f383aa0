"""The contract of transferability scores, and the input checks that they share."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.core.errors import InputError, NoLabels
from ilk.core.registry import find_modules
from ilk.maths.pca import fit_pca

Matrix = NDArray[np.float64]


class Transferability(Protocol):
    """A score of an encoder on labelled images, made without fitting a classifier.

    Attributes:
        NAME: Its name in tables.
        INPUT_KIND: "features" of the encoder `[n, d]`, or the
            probabilities of its pretraining classes `[n, z]` ("source").
    """

    NAME: str
    INPUT_KIND: Literal["features", "source"]

    def score(self, x: NDArray[Any], y: Labels, /) -> float:
        """Score rows `x [n, d]` with labels `y [n]`, -1 where unknown; higher is better.

        Raises:
            NoLabels, InputError: As `check_labelled`.
        """
        ...


@cache
def list_scores() -> dict[str, Transferability]:
    """Return every score by name: the files here with `score`, `NAME` and `INPUT_KIND`."""
    modules = find_modules("ilk.ranking").values()
    rankers: list[Any] = [m for m in modules if {"score", "NAME", "INPUT_KIND"} <= set(vars(m))]
    return {ranker.NAME: ranker for ranker in rankers}


def check_labelled(x: NDArray[Any], y: Labels) -> tuple[Matrix, Labels]:
    """Return the labelled rows `[n, d]` in float64, and their classes as 0 to k - 1 `[n]`.

    Raises:
        NoLabels: No row has a label.
        InputError: There is only one class, the shapes do not match, or a value is not finite.
    """
    x, y = np.asarray(x), np.asarray(y, np.int64)
    if x.ndim != 2 or y.shape != (len(x),):
        raise InputError(f"rows of shape {x.shape} do not match labels of shape {y.shape}")
    is_labelled = y >= 0
    if not is_labelled.any():
        raise NoLabels("ranking encoders needs labelled images and there are none; label a few")
    classes, index = np.unique(y[is_labelled], return_inverse=True)
    if len(classes) < 2:
        raise InputError("all labelled images are of one class; ranking encoders needs two")
    rows = x[is_labelled].astype(np.float64)
    if not np.isfinite(rows).all():
        raise InputError("some features are not finite; use another encoder or precision")
    return rows, index.astype(np.int64)


def check_probabilities(p: NDArray[Any], y: Labels) -> tuple[Matrix, Labels]:
    """Check as `check_labelled`, for rows `[n, z]` that must be probabilities.

    Raises:
        InputError: A row has a negative value or does not sum to 1.
    """
    rows, y = check_labelled(p, y)
    if rows.min() < 0 or np.abs(rows.sum(1) - 1).max() > 1e-3:
        raise InputError(
            "the rows of the source head are not probabilities; pass a softmax of its logits"
        )
    return rows, y


def reduce_and_scale(x: NDArray[Any], width: int) -> Matrix:
    """Project rows on the leading `width` principal axes, with mean variance 1, `[n, width]`.

    The control for scores that depend on the number of features or their scale.

    Raises:
        InputError: Rows have fewer directions of nonzero variance.
    """
    pca = fit_pca(np.asarray(x, np.float64))
    if pca.scores.shape[1] < width:
        raise InputError(
            f"{len(x)} rows of {x.shape[1]} features span {pca.scores.shape[1]} directions, "
            f"fewer than width={width}; choose a smaller width"
        )
    scores = pca.scores[:, :width]
    return np.asarray(scores / np.sqrt(np.mean(scores**2)))
