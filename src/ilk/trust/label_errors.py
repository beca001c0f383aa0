"""Rank likely label errors by confident learning.

Curtis G. Northcutt, Lu Jiang, Isaac L. Chuang, 2021, Confident Learning: Estimating Uncertainty in
Dataset Labels, arXiv 1911.00068.

With out-of-fold probabilities p, the threshold t_j is the mean of p[:, j] over rows labelled j
(equation 2). A row is confidently of class j if p_j >= t_j, for the most likely such j (equation
1). The confident joint counts rows by given label and confident class; a row off its diagonal is
suspect. Rows are ranked (section 3.2) by self-confidence, the p of the given label; by normalized
margin, that minus the greatest other p; or suspects first, both parts by margin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.core.errors import UnknownName
from ilk.core.metrics import Probabilities

NO_CLASS = -1
RANKINGS = ("margin", "self_confidence", "joint")
DEFAULT_RANKING = "self_confidence"


@dataclass(frozen=True, eq=False)
class LabelErrors:
    """Labelled rows with out-of-fold probabilities, most likely mislabelled first.

    Attributes:
        rows: Positions of the rows in the input, `[m]` int64.
        score: Label error score, `[m]` in [0, 1], descending. For "self_confidence", 1 - p of the
            label; for "margin", above 0.5 where another class is more probable than the label; for
            "joint", at least 0.5 for suspect rows and below for others.
        suggested_label: Most likely class other than the label, `[m]` int64.
        is_suspect: Whether the row is off the diagonal of the confident joint, `[m]`.
        joint: Estimated number of rows by given label and true class, `[k, k]` float64: the
            confident joint, scaled to the number of rows per label (equation 3).
    """

    rows: Labels
    score: NDArray[np.float64]
    suggested_label: Labels
    is_suspect: NDArray[np.bool_]
    joint: NDArray[np.float64]

    @property
    def noise_rate(self) -> float:
        """Estimated fraction of wrong labels, in [0, 1]; too large where the classifier is weak."""
        total = float(self.joint.sum())
        return 1 - float(np.trace(self.joint)) / total if total else 0.0

    @classmethod
    def find(
        cls, probabilities: Probabilities, y: Labels, ranking: str = DEFAULT_RANKING
    ) -> LabelErrors:
        """Rank rows by how likely their label is wrong.

        Rows without a label or without probabilities are left out.

        Args:
            probabilities: Out-of-fold probabilities, `[n, k]`; nan for rows without.
            y: Given labels, `[n]`, -1 where unknown.
            ranking: One of `RANKINGS`.

        Raises:
            UnknownName: If `ranking` is not one of `RANKINGS`.
        """
        check_ranking(ranking)
        is_usable = np.flatnonzero((y >= 0) & np.isfinite(probabilities).all(1))
        p, labels = probabilities[is_usable], y[is_usable]
        confident = assign_confident_class(p, labels)
        self_confidence, other, margin = _compute_margin(p, labels)
        is_suspect = (confident != NO_CLASS) & (confident != labels)
        doubt = (1 - margin) / 2
        score = {
            "margin": doubt,
            "self_confidence": 1 - self_confidence,
            "joint": (is_suspect + doubt) / 2,
        }[ranking]
        order = np.lexsort((self_confidence, margin, -score))
        has_class = confident != NO_CLASS
        joint = np.zeros((p.shape[1], p.shape[1]))
        np.add.at(joint, (labels[has_class], confident[has_class]), 1)
        joint = _scale_joint(joint, np.bincount(labels, minlength=p.shape[1]))
        return cls(is_usable[order], score[order], other[order], is_suspect[order], joint)


def check_ranking(ranking: str) -> None:
    """Raise UnknownName if `ranking` is not one of `RANKINGS`."""
    if ranking not in RANKINGS:
        raise UnknownName("ranking of labels", ranking, RANKINGS)


def assign_confident_class(p: Probabilities, y: Labels) -> Labels:
    """Return the confident class of each row, `[n]`; -1 if it has none.

    Args:
        p: Probabilities, `[n, k]`.
        y: Given labels, `[n]`.
    """
    k = p.shape[1]
    counts = np.bincount(y, minlength=k)
    own = np.bincount(y, p[np.arange(len(y)), y], minlength=k)
    threshold = np.where(counts > 0, own / np.maximum(counts, 1), np.inf)
    above_threshold = np.where(p >= threshold, p, -np.inf)
    return np.where(
        np.isfinite(above_threshold.max(1, initial=-np.inf)), above_threshold.argmax(1), NO_CLASS
    )


def _compute_margin(
    p: Probabilities, y: Labels
) -> tuple[NDArray[np.float64], Labels, NDArray[np.float64]]:
    """Return the label's p, the most likely other class, and the difference of p, each `[n]`."""
    rows = np.arange(len(y))
    own, others = p[rows, y], p.copy()
    others[rows, y] = -np.inf
    other = others.argmax(1)
    return own, other, own - others[rows, other]


def _scale_joint(joint: NDArray[np.float64], counts: Labels) -> NDArray[np.float64]:
    """Return the joint with rows scaled to `counts`; rows of zeros count on the diagonal."""
    total = joint.sum(1)
    is_uncounted = (total == 0) & (counts > 0)
    joint = joint + np.diag(is_uncounted.astype(float))
    return np.asarray(joint * (counts / np.maximum(joint.sum(1), 1))[:, None])
