"""Probabilities of rows by heads that were not fitted to them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Data, Features
from ilk.core.metrics import softmax
from ilk.maths.folds import assign_folds, count_folds
from ilk.maths.logistic_regression import RegressionResult, fit_regression

C = 1.0  # inverse of the penalty, over the mean variance of a feature
Probabilities = NDArray[np.float64]  # [n, k]


def fit_head(data: Data) -> RegressionResult:
    """Fit softmax regression with a fixed penalty to the labelled rows of `data`.

    The penalty does not depend on the number of rows, so that heads of more and of fewer rows
    differ in nothing but their rows.
    """
    rows = replace(data.take_labelled(), group=np.full(int((data.y >= 0).sum()), -1))
    variance = float(rows.x.var(0, dtype=np.float64).mean()) or 1.0
    return fit_regression(rows, C / variance)


def predict_proba(head: RegressionResult, x: Features) -> Probabilities:
    """Return probabilities `[n, k]` of features `[n, d]`; 0 for a class without rows."""
    return np.asarray(softmax((x - head.centre) @ head.weight.T + head.bias))


def predict_out_of_fold(data: Data, n_folds: int, seed: int) -> Probabilities:
    """Return probabilities `[n, k]` of the rows of `data`, each by a head fitted without its fold.

    Groups stay in one fold. Where no folds can be made, the head is fitted to all rows.

    Args:
        data: Rows that all have a label.
        n_folds: Number of folds, at most; >= 2.
        seed: Seed of the folds.
    """
    n_made = count_folds(data.y, n_folds, data.group)
    if n_made < 2:
        return predict_proba(fit_head(data), data.x)
    fold, out = assign_folds(data.y, n_made, seed, data.group), np.zeros((len(data), data.k))
    for f in range(n_made):
        out[fold == f] = predict_proba(fit_head(data.take(fold != f)), data.x[fold == f])
    return out
