"""Add classes to a saved classifier without its old images.

The stored summary of the old images (`ilk.trust.summary_statistics`) replaces them: the model is
extended from class statistics (`ilk.updates.extended_models`), the out-of-distribution detector
gets the new class means, and calibration, conformal sets and the out-of-distribution threshold are
refitted to left-out rows, old and new in proportion to their classes. `ExtensionReport` compares
the predictions of the old classes before and after.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.artifacts.classifier import Classifier
from ilk.core.contracts import Model
from ilk.core.data import Data
from ilk.core.statistics import Statistics
from ilk.maths.folds import has_shared_groups, number_groups
from ilk.maths.gaussian import compute_statistics, merge_statistics
from ilk.maths.leave_group_out import is_alone, list_members
from ilk.trust.calibration import Calibration
from ilk.trust.conformal import ConformalPredictor
from ilk.trust.out_of_distribution import OutOfDistributionDetector
from ilk.trust.summary_statistics import (
    MAX_ROWS,
    SummaryStatistics,
    select_first_rows,
    shuffle_within_classes,
)
from ilk.updates.add_validation import check_added, get_summary, merge_class_names, parse_method
from ilk.updates.adjusted_models import adjust_model
from ilk.updates.extended_models import (
    HeldOutRows,
    StatisticsUpdate,
    extend_model,
    leave_one_out_logits,
)
from ilk.updates.extension_report import (
    ExtensionReport,
    ScoredClassifier,
    check_separable,
    measure_extension,
)


def extend_classifier(
    classifier: Classifier,
    added: Data,
    *,
    allow_known: bool = False,
    force: bool = False,
    adjust: bool = False,
) -> tuple[Classifier, ExtensionReport]:
    """Return the classifier with the classes of `added`, and a report of the change.

    Args:
        classifier: The saved classifier.
        added: Labelled features of its own encoder; `added.classes` are the names.
        allow_known: Accept names of known classes; their rows are added to the class.
        force: Add a class even if it cannot be distinguished from an old one.
        adjust: All rows are of known classes, which may have been trained jointly; see
            `ilk.updates.adjusted_models`.

    Raises:
        InputError: If the classifier has no statistics, the features are from another encoder, a
            name is known already, a class has no row, or it cannot be distinguished from an old
            class.
    """
    started_at = time.perf_counter()
    summary = get_summary(classifier)
    check_added(added, summary)
    method = parse_method(classifier)
    names = merge_class_names(classifier, added, method, allow_known, adjust)
    y = np.array([names.index(name) for name in added.classes])[added.y]
    data = Data(np.asarray(added.x, np.float32), y, names, group=added.group)
    update = _merge_statistics(summary, data)
    rows = _collect_held_out(classifier, summary, update)
    selected = select_first_rows(rows.y, update.after.counts, summary.width, rows.group)
    temperature = classifier.calibration.temperature
    model: Model
    if adjust:
        n_old = len(summary.y)
        model, logits = adjust_model(classifier.model, update, rows, n_old, temperature)
    else:
        model = extend_model(classifier.model, method, update, rows.take(selected), temperature)
        logits = leave_one_out_logits(model, method, update.after, rows)
    detector = _extend_detector(classifier.ood_detector, update)
    rows = replace(rows, unknown_score=_update_scores(detector, update, rows, len(summary.y)))
    extended = replace(
        classifier, classes=names, model=model, ood_detector=detector, side_files=None
    )
    extended = _recalibrate(extended, update, replace(rows, logits=logits).take(selected))
    old_logits = leave_one_out_logits(
        classifier.model, method, update.before_old, rows.take(~np.isin(rows.y, update.added.y))
    )
    report = measure_extension(
        ScoredClassifier(classifier, old_logits), ScoredClassifier(extended, logits), update, rows
    )
    if not force:
        check_separable(report)
    report = replace(report, seconds=time.perf_counter() - started_at)
    return replace(extended, metadata=_record_extension(extended, report)), report


def _merge_statistics(summary: SummaryStatistics, data: Data) -> StatisticsUpdate:
    before, n_new = summary.statistics, data.k - len(summary.counts)
    padded = Statistics(
        np.append(before.counts, np.zeros(n_new, np.int64)),
        np.pad(before.means, ((0, n_new), (0, 0))),
        before.scatter,
    )
    added = compute_statistics(data.x, data.y, data.k, weight=data.sample_weight)
    after = merge_statistics(padded, added)
    return StatisticsUpdate(padded, after, data, len(summary.counts))


def _collect_held_out(
    classifier: Classifier, summary: SummaryStatistics, update: StatisticsUpdate
) -> HeldOutRows:
    """Return the stored rows, then the added ones, at most `MAX_ROWS` of each class."""
    added = update.added
    order = shuffle_within_classes(added.y, added.group)
    y = added.y[order]
    order = order[np.arange(len(y)) - np.searchsorted(y, y) < MAX_ROWS]
    x, y, group = added.x[order], added.y[order], added.group[order]
    first = int(summary.groups.max(initial=-1)) + 1  # numbers of added groups are others
    groups = np.append(summary.groups, np.where(group < 0, group, first + group))
    rows = HeldOutRows(
        np.concatenate([summary.x, x]),
        np.append(summary.y, y),
        np.concatenate([summary.logits.astype(np.float64), classifier.model.logits(x)]),
        np.append(summary.unknown_score, classifier.ood_detector.score(x)),
        groups if has_shared_groups(groups) else None,
    )
    return rows.take(~is_alone(rows.y, number_groups(groups), update.after.counts))


def _extend_detector(
    detector: OutOfDistributionDetector, update: StatisticsUpdate
) -> OutOfDistributionDetector:
    for c in np.unique(update.added.y):
        detector = detector.with_mean(update.after.means[c], _find_mean_index(update, c))
    return detector


def _find_mean_index(update: StatisticsUpdate, c: int) -> int:
    """Return the position of class `c` among the classes with rows."""
    return int(np.sum(update.after.counts[:c] > 0))


def _update_scores(
    detector: OutOfDistributionDetector, update: StatisticsUpdate, rows: HeldOutRows, n_old: int
) -> NDArray[np.float64]:
    """Return leave-one-out scores under the extended detector, `[m]`.

    The mean of an added row's own class is computed without it. The first `n_old` rows keep their
    out-of-fold scores, although a new mean may be nearer: the threshold becomes a little too high,
    which causes no false alarm.
    """
    scores, is_new = rows.unknown_score.copy(), np.arange(len(rows.y)) >= n_old
    for c in np.unique(update.added.y):
        n, index, is_own = (
            int(update.after.counts[c]),
            _find_mean_index(update, c),
            is_new & (rows.y == c),
        )
        distances = replace(detector, means=detector.means[index : index + 1]).score(rows.x[is_own])
        scores[is_own] = np.minimum(scores[is_own], (n / max(1, n - 1)) ** 2 * distances)
        if rows.group is not None:
            others = replace(detector, means=np.delete(detector.means, index, axis=0))
            _score_without_groups(scores, rows, np.flatnonzero(is_own), others, detector, update)
    return scores


def _score_without_groups(
    scores: NDArray[np.float64],
    rows: HeldOutRows,
    own: NDArray[np.int64],
    others: OutOfDistributionDetector,
    detector: OutOfDistributionDetector,
    update: StatisticsUpdate,
) -> None:
    """Set the scores of the rows `own [m]` of one class, whose mean leaves their group out.

    Args:
        scores: Scores of all rows, which are changed.
        rows: All rows.
        own: Positions of the added rows of the class.
        others: The detector without the mean of the class.
        detector: The extended detector.
        update: The added rows, and the statistics of all.
    """
    assert rows.group is not None
    c = int(rows.y[own[0]])
    index, n, mean = _find_mean_index(update, c), update.after.counts[c], update.after.means[c]
    for members in list_members(number_groups(rows.group[own])):
        group = own[members]
        x = rows.x[group].astype(np.float64)
        left = max(float(n) - len(group), 1.0)
        moved = detector.with_mean((n * mean - x.sum(0)) / left, index)
        distance = replace(moved, means=moved.means[index : index + 1]).score(rows.x[group])
        if len(others.means):
            distance = np.minimum(distance, others.score(rows.x[group]))
        scores[group] = distance


def _recalibrate(extended: Classifier, update: StatisticsUpdate, rows: HeldOutRows) -> Classifier:
    """Refit calibration, conformal sets, threshold and summary to the left-out `rows`."""
    counts, class_priors = update.after.counts, extended.class_priors
    if class_priors is not None:
        class_priors = class_priors.extend(counts / counts.sum())
    summary = SummaryStatistics.from_statistics(
        update.after, rows.x, rows.y, rows.logits, rows.unknown_score, rows.group
    )
    extended = replace(extended, summary_statistics=summary, class_priors=class_priors)
    if not len(rows.y):
        return extended
    extended = replace(extended, calibration=Calibration.fit(rows.logits, rows.y))
    p, weights = (
        extended.to_probabilities(rows.logits),
        class_priors.ratio[rows.y] if class_priors else None,
    )
    sets = ConformalPredictor.fit(
        p, rows.y, extended.conformal.level, rows.unknown_score, weights, rows.group
    )
    return replace(
        extended,
        conformal=sets,
        ood_detector=extended.ood_detector.with_threshold(rows.unknown_score, rows.group),
    )


def _record_extension(extended: Classifier, report: ExtensionReport) -> dict[str, Any]:
    """Return the metadata with the thresholds and the report."""
    metadata = extended.metadata
    thresholds = {
        **metadata.get("thresholds", {}),
        "set": extended.conformal.threshold,
        "unknown": extended.ood_detector.threshold,
    }
    return {
        **metadata,
        "thresholds": thresholds,
        "extensions": [*metadata.get("extensions", []), report.to_json()],
    }
