"""Herding (`ilk.maths.herding`) class by class."""

from __future__ import annotations

import numpy as np

from ilk.maths.herding import herd
from ilk.subset_selection.foundations.problem import Problem, Rows


def herd_classes(problem: Problem) -> Rows:
    """Return `per_class` rows of each class, class after class; a small class repeats its rows."""
    chosen = []
    for c in range(problem.n_classes):
        rows = problem.list_rows(c)
        size = min(len(rows), problem.per_class)
        chosen.append(np.resize(rows[herd(problem.features[rows], size)], problem.per_class))
    return np.concatenate(chosen)
