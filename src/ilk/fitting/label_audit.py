"""Rank probable label errors and measure the effect of removing or correcting them.

Curtis G. Northcutt, Lu Jiang, Isaac L. Chuang, 2021, Confident Learning: Estimating Uncertainty in
Dataset Labels, arXiv 1911.00068, for the ranking (see `ilk.trust.label_errors`).

The effect is measured by nested cross-validation. Each training part is audited by itself, in inner
folds; the labels that are most likely wrong are removed, or replaced by the suggested ones; and the
resulting classifiers are scored on the held-out fold with its given labels. These contain errors as
well: errors at random lower all scores alike and leave the differences unbiased; systematic
confusions of two classes favour classifiers that repeat them, so the gain is underestimated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ilk.core.contracts import Method
from ilk.core.data import Data, Labels
from ilk.core.errors import InputError
from ilk.core.metrics import Scores, score
from ilk.core.progress import Progress, silent_progress
from ilk.fitting.cross_validation import cross_validate
from ilk.fitting.selection_statistics import compute_outcomes, compute_p_value
from ilk.maths.clusters import compute_interval
from ilk.maths.folds import has_shared_groups
from ilk.protocols import cross_validation_steps, stratified_folds
from ilk.trust.calibration import check_logits, cross_calibrate
from ilk.trust.label_errors import DEFAULT_RANKING, LabelErrors, check_ranking

INNER_FOLDS = 3  # folds of the audit of a training part

Logits = NDArray[np.float64]


def check_fractions(fractions: Sequence[float], ranking: str) -> None:
    """Check the arguments of `measure_cleaning`.

    Raises:
        InputError: A fraction is outside (0, 1).
        UnknownName: The ranking is unknown.
    """
    check_ranking(ranking)
    if invalid := [fraction for fraction in fractions if not 0 < fraction < 1]:
        raise InputError(
            f"cannot clean a fraction of {invalid[0]} of the labels; it must lie between 0 and 1"
        )


def find_confused_pairs(errors: LabelErrors, max_pairs: int = 5) -> list[tuple[int, int, float]]:
    """Return the pairs of classes that are mislabelled most often.

    Args:
        errors: Label errors with the estimated joint counts of given and true labels.
        max_pairs: Maximum number of pairs.

    Returns:
        Given class, probable true class and estimated number of rows, most frequent first.
    """
    off_diagonal = errors.joint * (1 - np.eye(len(errors.joint)))
    order = np.argsort(-off_diagonal, axis=None, kind="stable")[:max_pairs]
    pairs = (divmod(int(i), len(off_diagonal)) for i in order)
    return [
        (given, true, float(off_diagonal[given, true]))
        for given, true in pairs
        if off_diagonal[given, true]
    ]


@dataclass(frozen=True)
class CleaningResult:
    """Effect of cleaning a fraction of the training labels.

    Attributes:
        fraction: Fraction of the training labels that is cleaned, in (0, 1).
        removed: Scores after removing the rows that are most likely mislabelled.
        relabelled: Scores after replacing their labels by the suggested ones.
        removed_p_value: Two-sided p-value of `removed` against the baseline (McNemar's mid-p, or a
            t-test over groups of images where there are some).
        relabelled_p_value: The same for `relabelled`.
    """

    fraction: float
    removed: Scores
    relabelled: Scores
    removed_p_value: float
    relabelled_p_value: float


@dataclass(frozen=True)
class CleaningEffect:
    """Cross-validated scores without cleaning, and for each cleaned fraction."""

    baseline: Scores
    results: tuple[CleaningResult, ...]


def measure_cleaning(
    method: Method,
    data: Data,
    fold: Labels,
    fractions: Sequence[float] = (0.01, 0.05),
    ranking: str = DEFAULT_RANKING,
    progress: Progress = silent_progress,
) -> CleaningEffect:
    """Measure the effect of removing or relabelling probable label errors by cross-validation.

    Args:
        method: Method to fit.
        data: Features and labels of `n` rows; every training part contains all rows without a
            label.
        fold: Fold that tests each row, `[n]`, -1 for none, as returned by `stratified_folds`.
        fractions: Fractions of the training labels to clean, each in (0, 1); at least one label is
            cleaned.
        ranking: Ranking of the label errors; see `LabelErrors.find`.
        progress: Reports progress after each fold.

    Raises:
        InputError: A fraction is outside (0, 1), or no row is tested.
        UnknownName: The ranking is unknown.
    """
    check_fractions(fractions, ranking)
    if not (fold >= 0).any():
        raise InputError(
            "every class has a single labelled image, so cross-validation is impossible"
        )
    n_variants = 1 + 2 * len(fractions)
    logits = np.full((n_variants, len(data), data.k), np.nan)
    with progress("measuring the effect of cleaning", int(fold.max()) + 1) as advance:
        for step in cross_validation_steps(data, fold):
            train_sets = [step.train, *_clean_labels(method, step.train, fractions, ranking)]
            for variant, train_set in enumerate(train_sets):
                logits[variant, step.test_rows] = check_logits(
                    method.fit(train_set).logits(step.test.x)
                )
            advance(1)
    groups = data.group if has_shared_groups(data.group) else None
    return _summarize_effect(logits, data.y, fold, fractions, groups)


def _clean_labels(
    method: Method, train: Data, fractions: Sequence[float], ranking: str
) -> list[Data]:
    """Return, for each fraction, the training rows with label errors removed and relabelled."""
    inner = stratified_folds(train.y, INNER_FOLDS, groups=train.group)
    if not (inner >= 0).any():  # no class has two rows, so nothing can be audited
        return [train] * (2 * len(fractions))
    oof = cross_validate(method, train, inner)
    errors = LabelErrors.find(cross_calibrate(oof.logits, train.y, inner), train.y, ranking)
    is_protected = _last_of_each_class(train.y[errors.rows])
    rows, suggested = errors.rows[~is_protected], errors.suggested_label[~is_protected]
    train_sets = []
    for fraction in fractions:
        n = max(1, round(fraction * int(np.sum(train.y >= 0))))
        y = train.y.copy()
        y[rows[:n]] = suggested[:n]
        train_sets += [
            train.take(np.setdiff1d(np.arange(len(train)), rows[:n])),
            replace(train, y=y),
        ]
    return train_sets


def _last_of_each_class(y: Labels) -> NDArray[np.bool_]:
    """Mark the last row of each class in a ranking, which is kept so that no class disappears."""
    is_last = np.zeros(len(y), bool)
    is_last[len(y) - 1 - np.unique(y[::-1], return_index=True)[1]] = True
    return is_last


def _summarize_effect(
    logits: Logits,
    y: Labels,
    fold: Labels,
    fractions: Sequence[float],
    groups: Labels | None = None,
) -> CleaningEffect:
    is_tested = fold >= 0
    tested_groups = None if groups is None else groups[is_tested]
    probabilities = [cross_calibrate(z, y, fold)[is_tested] for z in logits]
    outcomes = [compute_outcomes(y[is_tested], p) for p in probabilities]
    scores = [score(y[is_tested], p) for p in probabilities]
    if groups is not None:
        scores = [
            replace(s, accuracy=compute_interval(o.is_correct, tested_groups))
            for s, o in zip(scores, outcomes, strict=True)
        ]
    p_values = [
        compute_p_value(y[is_tested], outcomes[0], other, groups=tested_groups)
        for other in outcomes
    ]
    results = (
        CleaningResult(fraction, scores[i], scores[i + 1], p_values[i], p_values[i + 1])
        for fraction, i in zip(fractions, range(1, len(logits), 2), strict=True)
    )
    return CleaningEffect(scores[0], tuple(results))
