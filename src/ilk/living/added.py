"""What adding did to a classifier, measured on rows that neither side of it learnt from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from ilk.classifier import Classifier
from ilk.data import Labels, Logits
from ilk.errors import InputError
from ilk.living.widened import Learnt, Rows
from ilk.metrics import Probabilities, calibration_error
from ilk.versions import moment

ALIKE = 0.6  # area under the curve of new against old: 0.5 is a coin, 0.6 little better
ENOUGH = 5  # rows of either side that such an area needs


@dataclass(frozen=True)
class Alike:
    """How well rows of a new class are told from those of the old class they look like most.

    Attributes:
        new: The new class.
        old: The old class that most of its rows were taken for before.
        called: Share of its rows that were.
        auc: Area under the ROC curve, held out: the probability that a new row looks newer than a
            row of `old`; 0.5 is a coin, and 1 stands where there are too few rows to say.
    """

    new: str
    old: str
    called: float
    auc: float


@dataclass(frozen=True)
class Growth:
    """What adding did, measured on rows that the models compared had not learnt from.

    Attributes:
        date: When.
        images: Rows added of each class.
        old_rows: Held-out rows of the other classes; the next figures are of them.
        old_right: Share named rightly, before and after.
        old_same: Share named as before.
        taken: Share named as a class that got rows.
        moved: Greatest change of a difference between two old logits.
        gap: Median difference between the two greatest old logits, to see `moved` beside.
        calibration_error: Of old rows before, and of old and new ones after.
        found: Share of each class's added rows that is named rightly, each without itself; None
            for a class with a single row.
        alike: For each new class, the old one that it looks like most.
        seconds: The update's own time.
    """

    date: str
    images: dict[str, int]
    old_rows: int
    old_right: tuple[float | None, float | None]
    old_same: float | None
    taken: float | None
    moved: float
    gap: float
    calibration_error: tuple[float, float]
    found: dict[str, float | None]
    alike: tuple[Alike, ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """All figures."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Side:
    """A classifier, and what it says of rows as if it had not learnt from them, `[m, k]`."""

    classifier: Classifier
    logits: Logits

    @property
    def p(self) -> Probabilities:
        """The same as probabilities."""
        return self.classifier.probabilities(self.logits)


def measured(before: Side, after: Side, learnt: Learnt, rows: Rows) -> Growth:
    """How `rows`, held out, are answered after, and those of classes without added rows before."""
    fresh = np.isin(rows.y, learnt.added.y)
    old, y = rows.at(~fresh), rows.y[~fresh]
    p0, p1 = before.p, after.p
    was, now = p0.argmax(1), p1[~fresh].argmax(1)
    moved, gap = _moved(before.classifier, after.classifier, old)
    names, counts = learnt.added.classes, learnt.added.counts()
    grew = [int(c) for c in np.flatnonzero(counts)]
    return Growth(
        date=moment(),
        images={names[c]: int(counts[c]) for c in grew},
        old_rows=len(y),
        old_right=(_mean(was == y), _mean(now == y)),
        old_same=_mean(was == now),
        taken=_mean(np.isin(now, grew)),
        moved=moved,
        gap=gap,
        calibration_error=(calibration_error(y, p0), calibration_error(rows.y, p1)),
        found={names[c]: _found(p1, rows.y, c) for c in grew},
        alike=tuple(_alike(names, rows, after.logits, c) for c in grew if c >= learnt.old),
        seconds=0.0,
    )


def _mean(right: NDArray[np.bool_]) -> float | None:
    return float(np.mean(right)) if len(right) else None


def _moved(before: Classifier, after: Classifier, rows: Rows) -> tuple[float, float]:
    """Greatest change of a difference between two old logits, and the median winning margin."""
    z = before.model.logits(rows.x)
    known = np.flatnonzero(np.isfinite(z).all(0))
    if not len(z) or len(known) < 2:
        return 0.0, 0.0
    change = after.model.logits(rows.x)[:, known] - z[:, known]
    top = np.sort(z[:, known], axis=1)[:, -2:]
    return float(np.max(np.ptp(change, axis=1))), float(np.median(top[:, 1] - top[:, 0]))


def _found(p: Probabilities, y: Labels, c: int) -> float | None:
    return _mean(p[y == c].argmax(1) == c)


def _alike(names: tuple[str, ...], rows: Rows, logits: Logits, c: int) -> Alike:
    """The old class that rows of `c` were taken for most, and whether they are told apart."""
    mine = rows.y == c
    if not mine.any():
        return Alike(names[c], "", 0.0, 1.0)
    votes = np.bincount(rows.logits[mine].argmax(1))
    o = int(votes.argmax())
    theirs = rows.y == o
    n, m = int(mine.sum()), int(theirs.sum())
    area = 1.0
    if min(n, m) >= ENOUGH:
        lean = logits[:, c] - logits[:, o]
        ranks = rankdata(np.append(lean[mine], lean[theirs]))
        area = (float(ranks[:n].sum()) - n * (n + 1) / 2) / (n * m)
    return Alike(names[c], names[o], float(votes[o]) / n, area)


def tell_apart(growth: Growth) -> None:
    """Stop where a new class is an old one under another name.

    Raises:
        InputError: Its rows are mostly called an old class, and held out are not told from it.
    """
    for alike in growth.alike:
        if alike.auc < ALIKE and alike.called >= 0.5:
            raise InputError(
                f"the {growth.images[alike.new]:,} images of {alike.new!r} cannot be told from "
                f"{alike.old!r} ({alike.called:.0%} of them are called so, and a new one is told "
                f"from an old one {alike.auc:.0%} of the time, where 50% is chance), so nothing "
                f"was added; add them to {alike.old!r} with --more, or pass --anyway"
            )
