"""EL2N: the error of the probabilities of a head that was not fitted to the row.

Mansheej Paul, Surya Ganguli, Gintare Karolina Dziugaite, 2021, Deep Learning on a Data Diet,
arXiv 2107.07075, definition 3.

    EL2N(x, y) = E | p(x) - onehot(y) |_2

Departures: the expectation is over folds that leave the row out, in place of networks early in
training; and easy rows are kept unless `hard`, because few rows train best on easy ones (Ben
Sorscher and others, 2022, Beyond Neural Scaling Laws, arXiv 2206.14486).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ilk.core.data import Data, one_hot
from ilk.maths.out_of_fold import predict_out_of_fold
from ilk.subset_selection.selectors.selector import Scores, SelectorTags


@dataclass(frozen=True)
class EL2N(SelectorTags):
    """Rows with the least out-of-fold error, or the greatest.

    Attributes:
        hard: Keep the rows with the greatest error, as published.
        repeats: Sets of folds that the error is averaged over, >= 1.
        folds: Folds per set, >= 2.
    """

    needs_labels: ClassVar[bool] = True

    hard: bool = False
    repeats: int = 2
    folds: int = 3

    def __post_init__(self) -> None:
        if self.repeats < 1 or self.folds < 2:
            raise ValueError(
                f"repeats is {self.repeats} and folds {self.folds}; give at least 1 and 2"
            )

    @classmethod
    def list_candidates(cls) -> tuple[str, ...]:
        """Return both directions."""
        return (cls.__name__, f"{cls.__name__}(hard=True)")

    def score(self, source: Data, _target: Data | None, seed: int) -> Scores:
        """Return the error, with a minus sign unless `hard`, `[n]`."""
        truth = one_hot(source.y, source.k)
        error = np.zeros(len(source))
        for r in range(self.repeats):
            p = predict_out_of_fold(source, self.folds, seed + r)
            error += np.linalg.norm(p - truth, axis=1) / self.repeats
        return error if self.hard else -error
