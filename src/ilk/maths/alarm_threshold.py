"""The score above which an image is an anomaly, from scores of normal rows that were left out.

What every detector shares: which rows are normal, the conformal threshold of a false-alarm rate
(`ilk.maths.conformal_quantile`), and one vote per group of rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ilk.core.contracts import check_weights
from ilk.core.data import Data
from ilk.core.errors import InputError, NoLabels
from ilk.maths import folds
from ilk.maths.conformal_quantile import compute_votes, find_conformal_quantile

MAX_SCORE = float(np.finfo(np.float64).max)  # stands for infinity, which JSON does not have

Vector = NDArray[np.float64]


def check_false_alarm_rate(false_alarm_rate: float) -> None:
    """Raise InputError if `false_alarm_rate` is not a number in (0, 1)."""
    if not 0 < false_alarm_rate < 1:
        raise InputError(f"the false-alarm rate is {false_alarm_rate}; it must lie between 0 and 1")


class CalibratedDetector:
    """Base class of fitted detectors whose threshold is conformal.

    Attributes:
        calibration_scores: Scores of normal rows that were left out, ascending, `[m]`.
        calibration_votes: Their votes, `[m]`; empty is 1 each.
    """

    calibration_scores: Vector
    calibration_votes: Vector

    @property
    def n_votes(self) -> int:
        """Number of rows, or of groups of rows, behind a threshold."""
        votes = self.calibration_votes
        return round(float(votes.sum())) if len(votes) else len(self.calibration_scores)

    def compute_threshold(self, false_alarm_rate: float) -> float:
        """Return the score that a new normal row exceeds with at most the given probability.

        It is `MAX_SCORE`, which nothing exceeds, with fewer than `1 / false_alarm_rate - 1`
        calibration scores, or groups of rows. With groups, the probability is that of a row of a
        new group.

        Args:
            false_alarm_rate: Probability in (0, 1).

        Raises:
            InputError: If `false_alarm_rate` is not between 0 and 1.
        """
        check_false_alarm_rate(false_alarm_rate)
        scores, votes = self.calibration_scores, self.calibration_votes
        votes = votes if len(votes) else compute_votes(None, len(scores))
        threshold = find_conformal_quantile(scores, 1 - false_alarm_rate, votes)
        return MAX_SCORE if threshold is None else threshold


def sort_calibration(scores: Vector, groups: NDArray[np.int64]) -> tuple[Vector, Vector]:
    """Return the finite scores of rows that were left out, ascending, and their votes.

    Args:
        scores: Scores `[n]`; nan or infinity where a row could not be left out.
        groups: Group of each row, `[n]`, -1 for a group of its own.

    Returns:
        Scores `[m]`, and votes `[m]`, which are empty where no rows share a group.
    """
    is_known = np.isfinite(scores)
    votes = np.zeros(0)
    if folds.has_shared_groups(groups):
        votes = compute_votes(groups, len(scores))[is_known]
    order = np.argsort(scores[is_known], kind="stable")
    return scores[is_known][order], votes[order] if len(votes) else votes


def select_normal_rows(data: Data, method: object) -> Data:
    """Return the normal rows: those of class 0, or all if no row has a label.

    Args:
        data: Features `[n, d]`; rows of weight 0 are absent.
        method: The detector that asks; it is named in the messages.

    Raises:
        NoLabels: If there are labels but none of class 0.
        InputError: If there are no rows, they are not vectors, or their weights differ.
    """
    check_weights(data, method)
    name = type(method).__name__
    rows = data if (data.weight > 0).all() else data.take(data.weight > 0)
    if rows.x.ndim != 2:
        raise InputError(
            f"{name} reads features [n, d] and got an array of shape {rows.x.shape}; "
            "encode the images first"
        )
    is_normal = rows.y == 0 if (rows.y >= 0).any() else np.ones(len(rows), bool)
    if not len(rows):
        raise InputError(f"{name} learns from normal rows and there are none; add a few")
    if not is_normal.any():
        raise NoLabels(
            f"{name} takes the first class, {rows.classes[0]!r}, as normal, and no row has that "
            "label; label some rows so, or pass rows without any label"
        )
    return rows.take(is_normal)
