"""k-center: rows such that no other row of the class is far from all of them.

Ozan Sener, Silvio Savarese, 2018, Active Learning for Convolutional Neural Networks: A Core-Set
Approach, arXiv 1708.00489, algorithm 1 (`ilk.maths.coreset`).
"""

from __future__ import annotations

from dataclasses import dataclass

from ilk.core.data import Data
from ilk.maths.coreset import select_coreset
from ilk.subset_selection.selectors.selector import Scores, SelectorTags, score_by_class


@dataclass(frozen=True)
class KCenter(SelectorTags):
    """Greedy k-center in each class, from the row nearest to its mean.

    Attributes:
        projected: Width of the random projection in which distances are taken, >= 1.
    """

    projected: int = 128

    def __post_init__(self) -> None:
        if self.projected < 1:
            raise ValueError(f"projected is {self.projected}; it must be at least 1")

    def score(self, source: Data, _target: Data | None, seed: int) -> Scores:
        """Return the order of choice within the class, as scores `[n]` in (0, 1]."""
        return score_by_class(
            source.y,
            lambda rows: rows[select_coreset(source.x[rows], len(rows), self.projected, seed)],
        )
