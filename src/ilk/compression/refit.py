"""Refit the head of a classifier to the features of its changed network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ilk.artifacts.classifier import Classifier
from ilk.core.data import Data, Features
from ilk.core.errors import InputError
from ilk.export.check_images import CheckImages
from ilk.export.recalibrate import HonestRows, find_row_groups, parse_method
from ilk.trust.column_detector import ColumnDetector
from ilk.trust.out_of_distribution import fit_gaussian
from ilk.trust.summary_statistics import MAX_WIDTH, SummaryStatistics
from ilk.updates.side_files import read_trained_rows


def can_refit(classifier: Classifier, images: CheckImages, folder: Path) -> bool:
    """Whether all labelled images that the classifier was fitted to are there, and its method."""
    try:
        parse_method(classifier)
    except InputError:
        return False
    trained = {row.digest for row in read_trained_rows(folder) if row.label is not None}
    if (
        not trained
        or classifier.metadata.get("last_added")
        or classifier.metadata.get("extensions")
    ):
        return False
    labelled = zip(images.rows, images.y, strict=True)
    return trained <= {row.digest for row, y in labelled if y >= 0}


def refit_head(classifier: Classifier, images: CheckImages, changed: Features) -> Classifier:
    """Return the classifier with head and detector fitted to the changed features.

    The detector has no threshold yet, and the calibration is still the old one.

    Args:
        classifier: The classifier.
        images: Images, among which are all that it was fitted to.
        changed: Their changed features, `[n, d]`.
    """
    data = take_training_data(classifier, images, changed)
    old = classifier.ood_detector
    columns = replace(data, x=old.select_columns(data.x))
    detector = replace(fit_gaussian(columns), false_alarm=old.false_alarm, n_rows=old.n_rows)
    if isinstance(old, ColumnDetector):
        detector = ColumnDetector.from_detector(detector, old.first)
    return replace(classifier, model=parse_method(classifier).fit(data), ood_detector=detector)


def take_training_data(classifier: Classifier, images: CheckImages, changed: Features) -> Data:
    """Return the labelled images that the classifier was fitted to, with changed features.

    Args:
        classifier: The classifier.
        images: Images, among which are all that it was fitted to.
        changed: Their changed features, `[n, d]`.
    """
    index = np.flatnonzero(images.is_trained_on & (images.y >= 0))
    group = find_row_groups(classifier, images, index)
    return Data(changed[index], images.y[index], classifier.classes, group=group)


def summarize_features(
    classifier: Classifier, images: CheckImages, changed: Features, rows: HonestRows
) -> SummaryStatistics | None:
    """Return the statistics that later updates need, of the changed features.

    Args:
        classifier: The classifier before.
        images: Images, among which are all that it was fitted to.
        changed: Their changed features, `[n, d]`.
        rows: Honest rows of them.
    """
    if classifier.summary_statistics is None:
        return None
    data = take_training_data(classifier, images, changed)
    if classifier.summary_statistics.width == 0 or data.x.shape[1] > MAX_WIDTH:
        data = replace(data, x=data.x[:, :0])
    n = len(data)
    logits, is_tested, scores = np.zeros((n, data.k)), np.zeros(n, bool), np.full(n, np.nan)
    if rows.is_out_of_fold:
        trained = np.flatnonzero(images.is_trained_on & (images.y >= 0))
        position = {int(row): i for i, row in enumerate(trained)}
        for i, row in enumerate(rows.index):
            if (at := position.get(int(row))) is not None:
                logits[at], is_tested[at] = rows.changed_logits[i], True
                scores[at] = rows.changed_score[i]
    return SummaryStatistics.from_data(data, logits, is_tested, scores)
