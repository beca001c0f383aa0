"""Random images of each class: the baseline of every other method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ilk.subset_selection.foundations.problem import (
    CondensationTags,
    Condensed,
    Problem,
    Run,
    take_rows,
)


@dataclass(frozen=True)
class RandomImages(CondensationTags):
    """Images of each class at random, without repetition."""

    default_candidate: ClassVar[bool] = True

    def condense(self, problem: Problem, run: Run) -> Condensed:
        """Return images of the source."""
        problem.check_enough()
        return take_rows(problem, problem.draw_rows())
