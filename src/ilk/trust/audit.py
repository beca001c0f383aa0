"""Which labels to look at first, and what correcting or dropping them would change.

Curtis G. Northcutt, Lu Jiang, Isaac L. Chuang, 2021, Confident Learning: Estimating Uncertainty in
Dataset Labels, arXiv 1911.00068, for the ranking (see `ilk.trust.suspects`).

The effect is measured so that no row has a say in its own judgement: each training part of the
cross-validation is audited by itself, in inner folds; the labels it doubts most are dropped, or
changed to what it suggests; and the fold that was held out, its labels as they were given, scores
the three classifiers. Those labels are doubtful too. Where wrong labels are made at random they
lower all three scores alike, and the differences hold; where people confuse two kinds, a classifier
that repeats their mistakes scores better than one that does not, and the gain is understated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ilk.data import Data, Labels
from ilk.errors import InputError
from ilk.evaluate import cross_validate, stratified_folds
from ilk.metrics import Scores, score
from ilk.models import Method
from ilk.progress import Progress, silent
from ilk.protocols import steps
from ilk.selection import p_value, votes
from ilk.trust.calibrate import answerable, cross_fitted
from ilk.trust.suspects import DEFAULT, Suspects, known_ranking

INNER = 3  # folds in which a training part is audited by itself

Logits = NDArray[np.float64]


def check(shares: Sequence[float], by: str) -> None:
    """Raise InputError (UnknownName) for shares outside (0, 1), or a ranking that is none."""
    known_ranking(by)
    if wrong := [share for share in shares if not 0 < share < 1]:
        raise InputError(
            f"a share of {wrong[0]} of the labels cannot be treated; give one above 0 and below 1"
        )


def confused(found: Suspects, most: int = 5) -> list[tuple[int, int, float]]:
    """The kinds that labels confuse most: given label, likely true class, estimated rows."""
    off = found.joint * (1 - np.eye(len(found.joint)))
    order = np.argsort(-off, axis=None, kind="stable")[:most]
    pairs = (divmod(int(i), len(off)) for i in order)
    return [(given, true, float(off[given, true])) for given, true in pairs if off[given, true]]


@dataclass(frozen=True)
class Cleaned:
    """What came of treating the labels that look worst.

    Attributes:
        share: Of the training labels, in (0, 1).
        removed, relabelled: Scores on the labels as given, the doubted training rows dropped, or
            labelled as suggested.
        removed_p, relabelled_p: Paired two-sided p-values against the training labels as given
            (McNemar's mid-p).
    """

    share: float
    removed: Scores
    relabelled: Scores
    removed_p: float
    relabelled_p: float


@dataclass(frozen=True)
class Effect:
    """Cross-validated scores on the labels as given: nothing treated, then share by share."""

    given: Scores
    cleaned: tuple[Cleaned, ...]


def effect(
    method: Method,
    data: Data,
    fold: Labels,
    shares: Sequence[float] = (0.01, 0.05),
    by: str = DEFAULT,
    progress: Progress = silent,
) -> Effect:
    """What dropping or relabelling the worst labels does to `method`, as the module says.

    Args:
        data: Features and labels; rows without a label go along in every training part.
        fold: Which fold tests each row, `[n]`, -1 for none, as `stratified_folds` gives.
        shares: Of the training labels, each in (0, 1); at least one label is treated.
        by: As in `Suspects.find`.

    Raises:
        InputError: A share is out of its range, or no row is tested.
        UnknownName: `by` is none of the rankings.
    """
    check(shares, by)
    if not (fold >= 0).any():
        raise InputError("every class has a single labelled image, so nothing can be held out")
    ways = 1 + 2 * len(shares)
    logits = np.full((ways, len(data), data.k), np.nan)
    with progress("what relabelling would change", int(fold.max()) + 1) as advance:
        for step in steps(data, fold):
            parts = [step.train, *_treated(method, step.train, shares, by)]
            for way, part in enumerate(parts):
                logits[way, step.rows] = answerable(method.fit(part).logits(step.test.x))
            advance(1)
    return _told(logits, data.y, fold, shares)


def _treated(method: Method, train: Data, shares: Sequence[float], by: str) -> list[Data]:
    """Training rows with the worst labels dropped, then changed, for each share."""
    inner = stratified_folds(train.y, INNER)
    if not (inner >= 0).any():  # no class has two rows: nobody is doubted
        return [train] * (2 * len(shares))
    oof = cross_validate(method, train, inner)
    found = Suspects.find(cross_fitted(oof.logits, train.y, inner), train.y, by)
    spared = _least_doubted(train.y[found.rows])
    rows, suggested = found.rows[~spared], found.suggested[~spared]
    out = []
    for share in shares:
        n = max(1, round(share * int(np.sum(train.y >= 0))))
        y = train.y.copy()
        y[rows[:n]] = suggested[:n]
        out += [train.rows(np.setdiff1d(np.arange(len(train)), rows[:n])), replace(train, y=y)]
    return out


def _least_doubted(y: Labels) -> NDArray[np.bool_]:
    """The last row of each class in a ranking: it stays, so that no class goes."""
    spared = np.zeros(len(y), bool)
    spared[len(y) - 1 - np.unique(y[::-1], return_index=True)[1]] = True
    return spared


def _told(logits: Logits, y: Labels, fold: Labels, shares: Sequence[float]) -> Effect:
    at = fold >= 0
    found = [cross_fitted(z, y, fold)[at] for z in logits]
    scores = [score(y[at], p) for p in found]
    ballots = [votes(y[at], p) for p in found]
    p = [p_value(y[at], ballots[0], other) for other in ballots]
    cleaned = (
        Cleaned(share, scores[i], scores[i + 1], p[i], p[i + 1])
        for share, i in zip(shares, range(1, len(logits), 2), strict=True)
    )
    return Effect(scores[0], tuple(cleaned))
