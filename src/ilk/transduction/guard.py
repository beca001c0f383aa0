"""A guard for methods that learn from unlabelled rows: it needs evidence of a gain.

The constants were set on MNIST, notMNIST, USPS, pendigits, PACS and the first set of Omniglot.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np

from ilk.core.contracts import Model
from ilk.core.data import UNLABELLED, Data, Logits
from ilk.core.metrics import log_softmax, softmax
from ilk.maths.class_prior_em import estimate_class_priors
from ilk.maths.folds import assign_folds, count_folds
from ilk.maths.gaussian import Matrix

FOLDS = 5
EVIDENCE_MARGIN = 0.2  # nats per row that errors in the means of a few rows may explain
MIN_PRIOR_RATIO = 0.5  # rows of classes below this fraction of the uniform prior are not hidden

M = TypeVar("M", bound=Model)


def fit_guarded(data: Data, fit: Callable[[Data], M], enabled: bool = True) -> M:
    """Return `fit(data)` where there is evidence for it, else `fit` of the labelled rows alone.

    Two conditions must hold, neither of which requires further labels:

    1. The class priors of the unlabelled rows are not uniform: their likelihood under the best
       priors exceeds that under uniform priors by `(classes - 1) / 2 log rows` (Schwarz's
       criterion) and `EVIDENCE_MARGIN` nats per row. Under uniform priors these methods have
       nothing to gain, and errors in the means look like uneven priors.
    2. Labelled rows, hidden one fold at a time, are classified better with the unlabelled rows
       than without. Each hidden row is weighted by the estimated prior of its class among the
       unlabelled rows. Where no class has two labelled rows, nothing can be hidden.

    Args:
        data: Labelled and unlabelled rows.
        fit: Fits a model; its rows may all be labelled.
        enabled: False returns `fit(data)` without any check.
    """
    if not enabled:
        return fit(data)
    data = data.take_weighted()
    supervised = fit(data.take_labelled())
    if not (data.y < 0).any():
        return supervised
    unlabelled = data.take_unlabelled()
    logits, weight = supervised.logits(unlabelled.x), unlabelled.sample_weight
    proportions = estimate_proportions(logits, weight=weight)
    evidence = proportion_evidence(logits, proportions, weight)
    is_uneven = evidence > EVIDENCE_MARGIN * unlabelled.weight.sum()
    return fit(data) if is_uneven and held_out_gain(data, fit, proportions) > 0 else supervised


def estimate_proportions(logits: Logits, n_iter: int = 50, weight: Matrix | None = None) -> Matrix:
    """Return the class priors of rows, `[k]`, by `ilk.maths.class_prior_em`.

    Args:
        logits: Log posteriors under uniform priors, `[n, k]`.
        n_iter: Number of iterations.
        weight: How many times each row counts, `[n]`; None counts each once.
    """
    is_possible = np.isfinite(logits[0])
    uniform = is_possible / is_possible.sum()
    return estimate_class_priors(
        softmax(logits, axis=1), uniform, weight=weight, max_iter=n_iter, tolerance=0.0
    )


def proportion_evidence(logits: Logits, proportions: Matrix, weight: Matrix | None = None) -> float:
    """Return the log likelihood ratio of priors to uniform ones, minus Schwarz's penalty, in nats.

    Args:
        logits: Log posteriors under uniform priors, `[n, k]`.
        proportions: Class priors, `[k]`.
        weight: How many times each row counts, `[n]`; None counts each once.
    """
    n = len(logits) if weight is None else float(weight.sum())
    is_possible = np.isfinite(logits[0])
    log_p = log_softmax(logits[:, is_possible], axis=1)
    gain = np.log(np.maximum(np.exp(log_p) @ proportions[is_possible] * is_possible.sum(), 1e-300))
    total = gain.sum() if weight is None else weight @ gain
    return float(total - 0.5 * (is_possible.sum() - 1) * np.log(n))


def held_out_gain(data: Data, fit: Callable[[Data], Model], proportions: Matrix) -> float:
    """Return the accuracy on hidden labelled rows with unlabelled rows minus that without.

    It is in [-1, 1], weighted by the class priors `proportions [k]`; -1 where nothing can be
    hidden.
    """
    counts, totals = data.count_labels(), data.sum_label_weights()
    is_eligible = (counts > 1) & (proportions * np.count_nonzero(counts) > MIN_PRIOR_RATIO)
    rows = np.flatnonzero((data.y >= 0) & is_eligible[data.y])
    groups = data.group[rows]
    n_folds = count_folds(data.y[rows], FOLDS, groups) if len(rows) else 0
    if n_folds < 2:
        return -1.0
    fold, gain = assign_folds(data.y[rows], n_folds, groups=groups), 0.0
    for f in range(n_folds):
        test_rows = rows[fold == f]
        y = data.y.copy()
        y[test_rows] = UNLABELLED
        masked, true_labels = replace(data, y=y), data.y[test_rows]
        weight = data.weight[test_rows] * proportions[true_labels] / totals[true_labels]
        for sign, train_data in ((1, masked), (-1, masked.take_labelled())):
            is_correct = fit(train_data).logits(data.x[test_rows]).argmax(1) == true_labels
            gain += sign * float(weight @ is_correct)
    return gain
