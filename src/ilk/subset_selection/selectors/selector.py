"""The contract of this folder: how useful each image of a source is."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Data, Features, Labels

Scores = NDArray[np.float64]  # [n], higher is kept first


class SelectorTags:
    """Base of the selectors: frozen dataclasses with working defaults.

    `score(source, target, seed)` returns one number per image of the source; the images with the
    highest are kept. It is the same for the same seed, finite, and does not change its input.
    Greedy rules score by the order in which they choose.

    Attributes:
        needs_target: Whether it reads images of a target domain. Those of the folder that do are
            tried with a target only, the others without one only.
        needs_labels: Whether every image of the source must have a label.
        is_baseline: Whether it is what the others have to beat.
    """

    needs_target: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = False
    is_baseline: ClassVar[bool] = False

    @classmethod
    def list_candidates(cls) -> tuple[str, ...]:
        """Return the settings that are tried by default, as text that `parse_selector` reads."""
        return (cls.__name__,)

    def score(self, source: Data, target: Data | None, seed: int, /) -> Scores:
        """Return how useful each row is, `[n]`, higher first.

        Args:
            source: Features `[n, d]`, labels `[n]`, -1 where unknown.
            target: Features `[m, d]` of the target, m > 0, with labels where known, in the classes
                of `source` or -1; None without a target.
            seed: Seed of what is random.
        """
        raise NotImplementedError


def score_by_class(y: Labels, order: Callable[[NDArray[np.int64]], NDArray[np.int64]]) -> Scores:
    """Return scores of rows that each class orders on its own, `[n]`, in (0, 1].

    The i-th of the m rows of a class has `1 - i / m`, so that the best rows of all classes keep the
    proportions of the classes.

    Args:
        y: Class of each row, `[n]`; rows without one, -1, are ordered together.
        order: Returns the positions of a class's rows, given `[m]`, in the order of choice.
    """
    scores = np.zeros(len(y))
    for c in np.unique(y):
        rows = np.flatnonzero(y == c)
        scores[order(rows)] = 1 - np.arange(len(rows)) / len(rows)
    return scores


def require_target(target: Data | None) -> Data:
    """Return the target.

    Raises:
        ValueError: There is none, or it has no rows.
    """
    if target is None or not len(target):
        raise ValueError("this selector ranks images by their use for a target; give one")
    return target


def standardize(source: Features, *others: Features) -> list[NDArray[np.float64]]:
    """Return rows `[n, d]`, and those of others, centred and divided by one scale, in float64.

    The scale is the root mean variance of a feature of `source`.
    """
    centre = source.mean(0, dtype=np.float64)
    scale = float(np.sqrt(source.var(0, dtype=np.float64).mean())) or 1.0
    return [(np.asarray(x, np.float64) - centre) / scale for x in (source, *others)]
