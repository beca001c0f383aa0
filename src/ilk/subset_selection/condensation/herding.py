"""Herding: images whose mean feature is that of their class.

Max Welling, 2009, Herding Dynamical Weights to Learn, doi:10.1145/1553374.1553517; see
`foundations.herd`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ilk.subset_selection.foundations.herd import herd_classes
from ilk.subset_selection.foundations.problem import (
    CondensationTags,
    Condensed,
    Problem,
    Run,
    take_rows,
)


@dataclass(frozen=True)
class Herding(CondensationTags):
    """Images of each class whose mean feature is nearest to that of the class."""

    default_candidate: ClassVar[bool] = True

    def condense(self, problem: Problem, run: Run) -> Condensed:
        """Return images of the source."""
        problem.check_enough()
        return take_rows(problem, herd_classes(problem))
