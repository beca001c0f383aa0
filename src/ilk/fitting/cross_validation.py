"""Cross-validate one method."""

from __future__ import annotations

import time

import numpy as np

from ilk.core.contracts import Method
from ilk.core.data import Data, Labels
from ilk.core.leaderboard import OutOfFold
from ilk.core.progress import Advance
from ilk.protocols.folds import split_rows
from ilk.trust.calibration import check_logits

__all__ = ["OutOfFold", "cross_validate"]


def cross_validate(
    method: Method, data: Data, fold: Labels, advance: Advance = lambda _n: None
) -> OutOfFold:
    """Return the logits of each row from a model that was fitted without the row's fold.

    Rows that a fold does not test are in its training part, including rows without a label. A
    method with `max_fold_rows` is trained on a random subset of them where there are more.

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
    limit, note = getattr(method, "max_fold_rows", None), ""
    for is_train, test_rows in split_rows(data, fold):
        train = data.take(is_train)
        if limit is not None and len(train) > limit:
            note = f"from {limit:,} random training rows of {len(train):,} per fold"
            train = _take_random_rows(train, limit)
        model = method.fit(train)
        del train  # the test rows are copied only now
        logits[test_rows] = check_logits(model.logits(data.x[test_rows]))
        advance(1)
    return OutOfFold(logits, np.asarray(fold) >= 0, time.perf_counter() - started_at, note)


def _take_random_rows(data: Data, n: int) -> Data:
    """Return `n` random rows of every class together, the same ones each time."""
    rows = np.random.default_rng(0).permutation(len(data))[:n]
    return data.take(np.sort(rows))
