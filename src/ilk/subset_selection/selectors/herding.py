"""Herding: rows whose mean stays closest to the mean of their class.

Max Welling, 2009, Herding Dynamical Weights to Learn, doi:10.1145/1553374.1553517; as a choice of
exemplars: Sylvestre-Alvise Rebuffi and others, 2017, iCaRL, arXiv 1611.07725, algorithm 4; see
`ilk.maths.herding`.

    p_k = argmin_x | mu - 1/k (x + sum_{j<k} p_j) |
"""

from __future__ import annotations

from dataclasses import dataclass

from ilk.core.data import Data
from ilk.maths.herding import herd
from ilk.subset_selection.selectors.selector import (
    Scores,
    SelectorTags,
    score_by_class,
    standardize,
)


@dataclass(frozen=True)
class Herding(SelectorTags):
    """Greedy matching of the class mean."""

    def score(self, source: Data, _target: Data | None, _seed: int) -> Scores:
        """Return the order of choice within the class, as scores `[n]` in (0, 1]."""
        (x,) = standardize(source.x)
        return score_by_class(source.y, lambda rows: rows[herd(x[rows], len(rows))])
