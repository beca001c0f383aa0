"""Labels that look wrong, ranked: confident learning.

Curtis G. Northcutt, Lu Jiang, Isaac L. Chuang, 2021, Confident Learning: Estimating Uncertainty in
Dataset Labels, arXiv 1911.00068.

With out-of-fold probabilities p, t_j is the mean of p[:, j] over rows labelled j (equation 2). A
row counts as confidently j when p_j >= t_j, the likeliest such j if several (equation 1); counted
by given label and confident class that is the confident joint. A row off its diagonal is suspect.
Rows are ranked (section 3.2) by self-confidence, p of the given label; by normalised margin, that
less the greatest other; or those off the diagonal first, each half by margin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.data import Labels
from ilk.errors import UnknownName
from ilk.metrics import Probabilities

NONE = -1
RANKINGS = ("margin", "self_confidence", "joint")
DEFAULT = "self_confidence"  # finds most planted errors in `ilk bench wrong_labels`


@dataclass(frozen=True, eq=False)
class Suspects:
    """Every labelled and tested row, the one whose label looks most wrong first.

    Attributes:
        rows: Where the rows stand in what was given, `[m]` int64.
        score: How wrong the label looks, `[m]` in [0, 1], falling. By self-confidence 1 - p of the
            label; by margin 0.5 where label and likeliest other class are equally probable; by
            joint from 0.5 up where the row is suspect, below where it is not.
        suggested: The likeliest class other than the label, `[m]` int64.
        is_suspect: Whether the row is off the diagonal of the confident joint, `[m]`.
        joint: Estimated number of rows by given label and true class, `[k, k]` float64: the
            confident joint scaled so that each label has the rows that it has (equation 3).
    """

    rows: Labels
    score: NDArray[np.float64]
    suggested: Labels
    is_suspect: NDArray[np.bool_]
    joint: NDArray[np.float64]

    @property
    def noise(self) -> float:
        """Estimated share of wrong labels, in [0, 1]: the joint off its diagonal."""
        total = float(self.joint.sum())
        return 1 - float(np.trace(self.joint)) / total if total else 0.0

    @classmethod
    def find(cls, probabilities: Probabilities, y: Labels, by: str = DEFAULT) -> Suspects:
        """Rank rows by out-of-fold probabilities `[n, k]` and given labels `[n]`.

        Rows without a label (-1) or without an answer (nan) are left out.

        Raises:
            UnknownName: `by` is none of `RANKINGS`.
        """
        known_ranking(by)
        known = np.flatnonzero((y >= 0) & np.isfinite(probabilities).all(1))
        p, given = probabilities[known], y[known]
        confident = confident_class(p, given)
        own, other, margin = _margin(p, given)
        suspect = (confident != NONE) & (confident != given)
        doubt = (1 - margin) / 2
        score = {"margin": doubt, "self_confidence": 1 - own, "joint": (suspect + doubt) / 2}[by]
        order = np.lexsort((own, margin, -score))
        counted = confident != NONE
        joint = np.zeros((p.shape[1], p.shape[1]))
        np.add.at(joint, (given[counted], confident[counted]), 1)
        joint = _scaled(joint, np.bincount(given, minlength=p.shape[1]))
        return cls(known[order], score[order], other[order], suspect[order], joint)


def known_ranking(by: str) -> None:
    """Raise UnknownName for a ranking that is none."""
    if by not in RANKINGS:
        raise UnknownName("ranking of labels", by, RANKINGS)


def confident_class(p: Probabilities, y: Labels) -> Labels:
    """The class each row is confidently of, `[n]`; -1 where it is confidently none."""
    k = p.shape[1]
    counts = np.bincount(y, minlength=k)
    own = np.bincount(y, p[np.arange(len(y)), y], minlength=k)
    threshold = np.where(counts > 0, own / np.maximum(counts, 1), np.inf)
    reached = np.where(p >= threshold, p, -np.inf)
    return np.where(np.isfinite(reached.max(1, initial=-np.inf)), reached.argmax(1), NONE)


def _margin(p: Probabilities, y: Labels) -> tuple[NDArray[np.float64], Labels, NDArray[np.float64]]:
    """p of the label, the likeliest other class, and the first less the second's p, each `[n]`."""
    rows = np.arange(len(y))
    own, others = p[rows, y], p.copy()
    others[rows, y] = -np.inf
    other = others.argmax(1)
    return own, other, own - others[rows, other]


def _scaled(joint: NDArray[np.float64], counts: Labels) -> NDArray[np.float64]:
    """Rows of the joint that add up to the label counts; all on the diagonal where none counted."""
    total = joint.sum(1)
    bare = (total == 0) & (counts > 0)
    joint = joint + np.diag(bare.astype(float))
    return np.asarray(joint * (counts / np.maximum(joint.sum(1), 1))[:, None])
