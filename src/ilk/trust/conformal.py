"""Split conformal prediction: sets that contain the true class with a given probability.

Mauricio Sadinle, Jing Lei, Larry Wasserman, 2019, Least Ambiguous Set-Valued Classifiers with
Bounded Error Levels, arXiv 1609.00451: among sets with a given coverage, the set of all classes
with probability at least t is the smallest on average. t is the r-th smallest probability of the
true class among n held-out rows, r = floor((n + 1) (1 - level)) (Vovk, Gammerman, Shafer 2005), so
that an exchangeable new row is covered with probability at least `level`, and less than
`level + 1 / (n + 1)` without ties.

Where the accuracy exceeds the level, some sets are empty: no class is probable enough, and the
classifier should abstain. A lower level gives more empty sets, a higher one larger sets.

Ties: nearest neighbours give the same probability to many rows, and a threshold that keeps a whole
block of ties covers too much. Probabilities above 0.9 are not comparable between the model and the
folds behind the threshold, each of which chose its own hyperparameters, and are treated as tied.
`tie_breakers` orders tied rows by another score, such as the out-of-distribution score: of two
tied rows, the one with the greater value leaves the set first.

Groups: rows of one group (a patient, a video) are not exchangeable with a row of a new one, but the
groups are with each other. With `groups`, each of G groups has one vote, shared by its rows, and
the row to predict has the vote of its own new group: r becomes the greatest rank up to which less
than (G + 1) (1 - level) groups are left out, the new one included. A row drawn from a new group is
then covered with probability at least `level`, however strongly rows of a group depend on each
other (Yonghoon Lee, Rina Foygel Barber, Rebecca Willett, 2023, Distribution-free inference with
hierarchical data, arXiv 2306.06342, HCP, section 3; Robin Dunn, Larry Wasserman, Aaditya Ramdas,
2018, arXiv 1809.07441). That holds on average over groups: all rows of one group may be missed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.core.errors import InputError
from ilk.core.metrics import Interval, Probabilities, wilson_interval
from ilk.core.part_bounds import FRACTION, Bounds
from ilk.maths.clusters import compute_interval
from ilk.maths.folds import has_shared_groups, number_groups, share_votes

TIE_DECIMALS = 9  # probabilities that agree to this many decimals are tied
TIE_PROBABILITY = 0.9  # with a tie-breaker, probabilities above this are tied
NO_TIE_LIMIT = float(np.finfo(np.float64).max)


@dataclass(frozen=True, eq=False)
class ConformalPredictor:
    """Prediction sets of all classes whose probability reaches a threshold.

    Attributes:
        threshold: Least probability of a class in a set, in [0, 1]; 0 includes every class. At most
            0.9 with a tie-breaker.
        tie_threshold: Greatest tie-breaking value of a class in a set, at the threshold itself.
        level: Coverage, in (0, 1).
        n_rows: Number of held-out rows behind the threshold.
        n_groups: Number of their groups; 0 where every row is one.
    """

    kind: ClassVar[str] = "conformal_predictor"
    bounds: ClassVar[dict[str, Bounds]] = {"threshold": FRACTION, "level": FRACTION}

    threshold: float
    tie_threshold: float = NO_TIE_LIMIT
    level: float = 0.9
    n_rows: int = 0
    n_groups: int = 0

    @classmethod
    def fit(
        cls,
        probabilities: Probabilities,
        y: Labels,
        level: float = 0.9,
        tie_breakers: NDArray[np.floating] | None = None,
        weights: NDArray[np.floating] | None = None,
        groups: Labels | None = None,
    ) -> ConformalPredictor:
        """Fit the threshold to held-out rows.

        With fewer rows, or groups, than the level needs (9 for 0.9, 99 for 0.99) every set has all
        classes.

        Args:
            probabilities: Probabilities of held-out rows, `[n, k]`.
            y: Their classes, `[n]`.
            level: Coverage, in (0, 1).
            tie_breakers: Score that orders tied rows, `[n]`; None keeps all ties in the set.
            weights: Ratio of target to source prior of each row's class, `[n]`, for coverage under
                the target priors (Podkopaev & Ramdas 2021, arXiv 2103.03323, with the greatest
                weight for the test row, which is conservative); None is 1 for each.
            groups: Group of each row, `[n]`, for coverage in new groups; -1 is a group of its own,
                and None makes every row one.

        Raises:
            InputError: If `level` is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise InputError(f"the coverage is {level}; it must lie between 0 and 1")
        n = len(y)
        weight = np.ones(n) if weights is None else np.asarray(weights, np.float64)
        test_weight, n_groups = weight.max(initial=0), 0
        if groups is not None and has_shared_groups(groups):
            weight, n_groups = weight * share_votes(groups), len(np.unique(number_groups(groups)))
        p = np.round(probabilities[np.arange(n), y], TIE_DECIMALS)
        tie = np.zeros(n) if tie_breakers is None else np.asarray(tie_breakers, np.float64)
        p = p if tie_breakers is None else np.minimum(p, TIE_PROBABILITY)
        order = np.lexsort((-tie, p))
        cumulative = np.cumsum(weight[order]) - weight[order]
        missed_weight = weight.sum() - level * (weight.sum() + test_weight)
        rank = int(np.sum(cumulative <= round(missed_weight, 9))) if missed_weight > -1e-9 else 0
        if rank < 1:
            return cls(0.0, NO_TIE_LIMIT, level, n, n_groups)
        row = order[rank - 1]
        tie_limit = NO_TIE_LIMIT if tie_breakers is None else float(tie[row])
        return cls(float(p[row]), tie_limit, level, n, n_groups)

    def contains(
        self, probabilities: Probabilities, tie_breakers: NDArray[np.floating] | None = None
    ) -> NDArray[np.bool_]:
        """Return which classes each row's prediction set contains, `[n, k]`.

        Args:
            probabilities: Probabilities, `[n, k]`.
            tie_breakers: Score that orders tied rows, `[n]`; None keeps all ties in the set.
        """
        p = np.round(probabilities, TIE_DECIMALS)
        if tie_breakers is None or self.tie_threshold == NO_TIE_LIMIT:
            return np.asarray(p >= self.threshold)
        p = np.minimum(p, TIE_PROBABILITY)
        within_tie = np.asarray(tie_breakers, np.float64) <= self.tie_threshold
        return np.asarray((p > self.threshold) | ((p == self.threshold) & within_tie[:, None]))

    @property
    def note(self) -> str:
        """Why every set has all classes, as a sentence; "" where they do not."""
        needed = int(np.ceil(round(self.level / (1 - self.level), 9)))
        n_votes, what = self.n_rows, "labelled images"
        if self.n_groups:
            n_votes, what = self.n_groups, "groups of labelled images"
        if n_votes >= needed:
            return ""
        return (
            f"a coverage of {100 * self.level:.4g}% needs {needed} {what} that can be "
            f"held out and there are {n_votes}: every set holds every class"
        )


@dataclass(frozen=True)
class CoverageReport:
    """Coverage and size of prediction sets on labelled rows.

    Attributes:
        coverage: Fraction of sets that contain the true class, with its Wilson interval.
        mean_size: Mean number of classes per set.
        empty_fraction: Fraction of empty sets, in [0, 1].
        singleton_fraction: Fraction of sets with one class, in [0, 1].
    """

    coverage: Interval
    mean_size: float
    empty_fraction: float
    singleton_fraction: float

    @classmethod
    def from_sets(
        cls, sets: NDArray[np.bool_], y: Labels, groups: Labels | None = None
    ) -> CoverageReport:
        """Return the report for sets `[n, k]`, classes and groups `[n]`; nan if n is 0."""
        n = len(y)
        set_sizes = sets.sum(1)
        if not n:
            return cls(wilson_interval(0, 0), float("nan"), float("nan"), float("nan"))
        fractions = (
            float(np.mean(set_sizes)),
            float(np.mean(set_sizes == 0)),
            float(np.mean(set_sizes == 1)),
        )
        return cls(compute_interval(sets[np.arange(n), y], groups), *fractions)


def cross_conformal_sets(
    probabilities: Probabilities,
    y: Labels,
    fold: Labels,
    level: float = 0.9,
    tie_breakers: NDArray[np.floating] | None = None,
    groups: Labels | None = None,
) -> NDArray[np.bool_]:
    """Return prediction sets `[n, k]`, each fold's with a threshold fitted to the other folds.

    They estimate the coverage where there is no test set. Rows with `fold < 0` have empty sets.

    Args:
        probabilities: Out-of-fold probabilities, `[n, k]`.
        y: Classes, `[n]`.
        fold: Fold of each row, `[n]`; -1 for rows without probabilities.
        level: Coverage, in (0, 1).
        tie_breakers: Score that orders tied rows, `[n]`.
        groups: Group of each row, `[n]`, as for `ConformalPredictor.fit`.
    """
    out = np.zeros(np.shape(probabilities), bool)
    for f in range(int(fold.max(initial=-1)) + 1):
        is_test, is_other = fold == f, (fold >= 0) & (fold != f)
        sets = ConformalPredictor.fit(
            probabilities[is_other],
            y[is_other],
            level,
            None if tie_breakers is None else tie_breakers[is_other],
            groups=None if groups is None else groups[is_other],
        )
        out[is_test] = sets.contains(
            probabilities[is_test], None if tie_breakers is None else tie_breakers[is_test]
        )
    return out
