"""Cross-validate one method."""

from __future__ import annotations

import time

import numpy as np

from ilk.core.contracts import Method
from ilk.core.data import Data, Labels
from ilk.core.leaderboard import OutOfFold
from ilk.core.progress import Advance
from ilk.protocols import cross_validation_steps
from ilk.trust.calibration import check_logits

__all__ = ["OutOfFold", "cross_validate"]


def cross_validate(
    method: Method, data: Data, fold: Labels, advance: Advance = lambda _n: None
) -> OutOfFold:
    """Return the logits of each row from a model that was fitted without the row's fold.

    Rows that a fold does not test are in its training part, including rows without a label.

    Args:
        method: Method to evaluate.
        data: `n` rows of `k` classes.
        fold: Fold that tests each row, `[n]`; -1 for rows that are never tested.
        advance: Called with 1 after each fold.

    Raises:
        IlkError: The method cannot be fitted to this data.
        FloatingPointError: The logits of a row contain nan or `+inf`, or no finite value.
    """
    started_at = time.perf_counter()
    logits = np.full((len(data), data.k), np.nan)
    for step in cross_validation_steps(data, fold):
        logits[step.test_rows] = check_logits(method.fit(step.train).logits(step.test.x))
        advance(1)
    return OutOfFold(logits, np.asarray(fold) >= 0, time.perf_counter() - started_at)
