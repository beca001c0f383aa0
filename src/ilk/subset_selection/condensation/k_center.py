"""k-centre: images such that every image of the class has one of them near it.

Ozan Sener, Silvio Savarese, 2018, Active Learning for Convolutional Neural Networks: A Core-Set
Approach, arXiv 1708.00489, algorithm 1; see `ilk.maths.coreset`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ilk.maths.coreset import select_coreset
from ilk.subset_selection.foundations.problem import (
    CondensationTags,
    Condensed,
    Problem,
    Run,
    take_rows,
)


@dataclass(frozen=True)
class KCenter(CondensationTags):
    """Images of each class that leave no other far away, the one nearest to the mean first."""

    def condense(self, problem: Problem, run: Run) -> Condensed:
        """Return images of the source."""
        problem.check_enough()
        width, chosen = problem.features.shape[1], []
        for c in range(problem.n_classes):
            rows = problem.list_rows(c)
            x = problem.features[rows]
            chosen.append(rows[select_coreset(x, problem.per_class, width, problem.seed)])
        return take_rows(problem, np.concatenate(chosen))
