"""Sets of names that hold the right one as often as was asked: split conformal prediction.

Mauricio Sadinle, Jing Lei, Larry Wasserman, 2019, Least Ambiguous Set-Valued Classifiers with
Bounded Error Levels, arXiv 1609.00451: the set of all classes with probability at least t is the
smallest on average that reaches a coverage. t is the r-th smallest probability of the true class
among n held-out rows, r = floor((n + 1) (1 - level)) (Vovk, Gammerman, Shafer 2005), so that a new
row drawn like those n is covered with probability at least `level`, and less than
`level + 1 / (n + 1)` without ties.

Where a classifier is right more often than was asked, some sets are empty: no name is sure enough
there, and the honest answer is to abstain. A lower level gives more empty sets, a higher one larger
sets.

Ties: neighbours that vote give the same probability to many rows, and a threshold that keeps a
whole block of ties covers too much. Above 0.9 a probability also says more about the model than
about the row: each fold chooses its own number of neighbours and is sure in its own way, and a
threshold between two such ways means nothing to the final model. `ties` orders rows by anything
else that is known of them, such as the distance from what was learnt: of two rows with the same
probability, or both above 0.9, the one with the greater value leaves the set first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.data import Labels
from ilk.errors import InputError
from ilk.metrics import Interval, Probabilities, wilson

SAME = 9  # probabilities that agree to this many digits are a tie
SURE = 0.9  # with a tie-breaker, probabilities above this are a tie
NEVER = float(np.finfo(np.float64).max)


@dataclass(frozen=True, eq=False)
class Sets:
    """All classes whose probability reaches a threshold.

    Attributes:
        threshold: Least probability of a class in a set, in [0, 1]; 0 takes every class. At most
            0.9 where there is a tie-breaker.
        tie: Among rows just at the threshold, the greatest tie-breaking value that stays in.
        level: Coverage asked for, in (0, 1).
        rows: Number of held-out rows behind the threshold.
    """

    threshold: float
    tie: float = NEVER
    level: float = 0.9
    rows: int = 0

    @classmethod
    def fit(
        cls,
        probabilities: Probabilities,
        y: Labels,
        level: float = 0.9,
        ties: NDArray[np.floating] | None = None,
        weights: NDArray[np.floating] | None = None,
    ) -> Sets:
        """From probabilities `[n, k]` of rows held out of fitting, labels `[n]`, and `ties` `[n]`.

        With fewer rows than the level needs (9 for 0.9, 99 for 0.99) every set holds every class.

        `weights` `[n]` tell how many times as common each row's class is where the sets are to
        hold (Podkopaev & Ramdas 2021, arXiv 2103.03323, with the greatest weight for the row that
        is asked about, which is safe for every class); all 1 where not told.

        Raises:
            InputError: `level` is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise InputError(f"a coverage of {level} cannot be reached; ask for one in (0, 1)")
        n = len(y)
        weight = np.ones(n) if weights is None else np.asarray(weights, np.float64)
        p = np.round(probabilities[np.arange(n), y], SAME)
        tie = np.zeros(n) if ties is None else np.asarray(ties, np.float64)
        p = p if ties is None else np.minimum(p, SURE)
        order = np.lexsort((-tie, p))
        before = np.cumsum(weight[order]) - weight[order]
        missed = weight.sum() - level * (weight.sum() + weight.max(initial=0))
        rank = int(np.sum(before <= round(missed, 9))) if missed > -1e-9 else 0
        if rank < 1:
            return cls(0.0, NEVER, level, n)
        at = order[rank - 1]
        return cls(float(p[at]), NEVER if ties is None else float(tie[at]), level, n)

    def contains(
        self, probabilities: Probabilities, ties: NDArray[np.floating] | None = None
    ) -> NDArray[np.bool_]:
        """Which classes belong to each row's set, `[n, k]`; without `ties`, all ties stay in."""
        p = np.round(probabilities, SAME)
        if ties is None or self.tie == NEVER:
            return np.asarray(p >= self.threshold)
        p = np.minimum(p, SURE)
        stays = np.asarray(ties, np.float64) <= self.tie
        return np.asarray((p > self.threshold) | ((p == self.threshold) & stays[:, None]))

    @property
    def note(self) -> str:
        """Why the sets say nothing, as a sentence; "" where they do."""
        needed = int(np.ceil(round(self.level / (1 - self.level), 9)))
        if self.rows >= needed:
            return ""
        return (
            f"a coverage of {100 * self.level:.4g}% needs {needed} labelled images that can be "
            f"held out and there are {self.rows}: every set holds every class"
        )


@dataclass(frozen=True)
class Coverage:
    """How sets did on labelled rows.

    Attributes:
        covered: Share of sets that hold the true class, with its Wilson interval.
        size: Mean number of classes in a set.
        empty: Share of empty sets, in [0, 1].
        single: Share of sets with one class, in [0, 1].
    """

    covered: Interval
    size: float
    empty: float
    single: float

    @classmethod
    def of(cls, members: NDArray[np.bool_], y: Labels) -> Coverage:
        """Of sets `[n, k]` and labels `[n]`; nan where n is 0."""
        n = len(y)
        size = members.sum(1)
        hits = float(members[np.arange(n), y].sum())
        if not n:
            return cls(wilson(0, 0), float("nan"), float("nan"), float("nan"))
        shares = (float(np.mean(size)), float(np.mean(size == 0)), float(np.mean(size == 1)))
        return cls(wilson(hits, n), *shares)


def cross_fitted_sets(
    probabilities: Probabilities,
    y: Labels,
    fold: Labels,
    level: float = 0.9,
    ties: NDArray[np.floating] | None = None,
) -> NDArray[np.bool_]:
    """Sets `[n, k]` of out-of-fold probabilities, each fold's from a threshold of the others.

    For judging coverage where there is no test part. Rows with `fold < 0` have no class.
    """
    out = np.zeros(np.shape(probabilities), bool)
    for f in range(int(fold.max(initial=-1)) + 1):
        here, others = fold == f, (fold >= 0) & (fold != f)
        sets = Sets.fit(
            probabilities[others], y[others], level, None if ties is None else ties[others]
        )
        out[here] = sets.contains(probabilities[here], None if ties is None else ties[here])
    return out
