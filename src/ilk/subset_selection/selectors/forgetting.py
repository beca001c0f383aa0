"""Forgetting: how often a row that a head had right turns wrong when the head learns other rows.

Mariya Toneva, Alessandro Sordoni, Remi Tachet des Combes, Adam Trischler, Yoshua Bengio, Geoffrey
J. Gordon, 2019, An Empirical Study of Example Forgetting during Deep Neural Network Learning,
arXiv 1812.05159.

    forgetting(x) = number of steps t at which x is right after t - 1 and wrong after t

Departure: a step is not an update but a head fitted to another half of the rows, never to x itself;
among rows with the same count those come first that are right more often. Rows that are never right
count as forgotten at every step, as published.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Data
from ilk.maths.out_of_fold import predict_out_of_fold
from ilk.subset_selection.selectors.selector import Scores, SelectorTags


@dataclass(frozen=True)
class Forgetting(SelectorTags):
    """Rows that are forgotten most, as published.

    Attributes:
        steps: Heads that each row is answered by, >= 2.
    """

    needs_labels: ClassVar[bool] = True

    steps: int = 6

    def __post_init__(self) -> None:
        if self.steps < 2:
            raise ValueError(f"steps is {self.steps}; a row is forgotten between at least 2")

    def score(self, source: Data, _target: Data | None, seed: int) -> Scores:
        """Return the number of times that each row is forgotten, plus its error rate, `[n]`."""
        right = np.stack(
            [
                predict_out_of_fold(source, 2, seed + t).argmax(1) == source.y
                for t in range(self.steps)
            ]
        )
        scores: Scores = count_forgetting(right) + 0.5 * (1 - right.mean(0))
        return scores


def count_forgetting(right: NDArray[np.bool_]) -> Scores:
    """Return how often each row turns wrong, `[n]`, from `right [t, n]`; t if it is never right."""
    count = np.asarray((right[:-1] & ~right[1:]).sum(0), np.float64)
    return np.asarray(np.where(right.any(0), count, len(right)), np.float64)
