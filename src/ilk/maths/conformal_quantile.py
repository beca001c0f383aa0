"""The conformal quantile of scores, where each row, or each group of rows, has one vote.

The score of one more row, or of a row of one more group, exceeds it with probability at most
`1 - level` if rows, or groups, are exchangeable (Vladimir Vovk, Alex Gammerman, Glenn Shafer, 2005;
for groups Yonghoon Lee, Rina Foygel Barber, Rebecca Willett, 2023, arXiv 2306.06342): it is the
`level` quantile of the scores together with a vote for infinity.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.maths.folds import share_votes

Vector = NDArray[np.float64]


def compute_votes(groups: Labels | None, n: int) -> Vector:
    """Return the vote of each of n rows, `[n]`.

    Args:
        groups: Group of each row, `[n]`; -1 is a group of its own, and None makes every row one.
        n: Number of rows.
    """
    return np.ones(n) if groups is None else share_votes(groups)


def find_conformal_quantile(scores: Vector, level: float, votes: Vector) -> float | None:
    """Return the score that a new row exceeds with probability at most `1 - level`.

    None, for infinity, if there are too few votes for the level.

    Args:
        scores: Scores of held-out rows, `[n]`.
        level: Probability, in (0, 1).
        votes: Vote of each row, `[n]`, as `compute_votes` returns it.
    """
    order = np.argsort(scores, kind="stable")
    needed = round(level * (float(votes.sum()) + 1), 9)
    reached = np.flatnonzero(np.round(np.cumsum(votes[order]), 9) >= needed)
    return float(scores[order[reached[0]]]) if len(reached) else None
