"""Fit calibration and thresholds anew where the features have changed, on rows that are honest.

Rows that the head was fitted to say nothing about new images. Either labelled images that it has
not seen are scored by the head itself; or, without such images, the head's method is fitted to the
original features of all folds but one, and scores the changed features of that one: what happens
to a new image when the head stays as it is and the network changes. A head that was itself fitted
anew, to the changed features, is scored on those of folds that it was not fitted to.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ilk.artifacts.classifier import Classifier
from ilk.core.capabilities import Embeds, find_trained_parts
from ilk.core.contracts import Method
from ilk.core.data import Data, Features, Labels, Logits
from ilk.core.errors import IlkError, InputError
from ilk.export.check_images import CheckImages
from ilk.fitting.dependence import find_clusters
from ilk.images import number_row_groups
from ilk.maths.folds import has_shared_groups
from ilk.methods import parse
from ilk.protocols import stratified_folds
from ilk.protocols.folds import split_rows
from ilk.trust.calibration import Calibration, check_logits
from ilk.trust.conformal import ConformalPredictor
from ilk.trust.out_of_distribution import fit_gaussian

MIN_ROWS = 40
N_FOLDS = 5


@dataclass(frozen=True, eq=False)
class HonestRows:
    """Labelled rows, scored as new images would be.

    Attributes:
        index: Which of the images they are, `[m]`.
        y: Classes, `[m]`.
        group: Groups, `[m]`; -1 for a group of its own.
        logits: Logits of the original features, `[m, k]`.
        changed_logits: Logits of the changed features, `[m, k]`.
        changed_score: Unknown scores of the changed features, `[m]`.
        is_out_of_fold: Whether heads of folds gave them.
    """

    index: Labels
    y: Labels
    group: Labels
    logits: Logits
    changed_logits: Logits
    changed_score: NDArray[np.float64]
    is_out_of_fold: bool

    @property
    def differences(self) -> NDArray[np.int64]:
        """Per row, 1 where the change made a right answer wrong, -1 the other way, `[m]`."""
        before = self.logits.argmax(1) == self.y
        after = self.changed_logits.argmax(1) == self.y
        return np.asarray(before, np.int64) - np.asarray(after, np.int64)


def find_honest_index(images: CheckImages, encoder: Embeds | None = None) -> Labels:
    """Return the labelled images to use, `[m]`: those not trained on if they suffice, else all.

    Images that the network itself was trained on are never used: heads of folds do not undo that.

    Args:
        images: The images.
        encoder: The encoder of the classifier, which may know what it was trained on.

    Raises:
        InputError: There are fewer than `MIN_ROWS` labelled images.
    """
    is_usable = images.y >= 0
    digests = [row.digest for row in images.rows]
    for part in find_trained_parts(encoder) if encoder is not None else ():
        is_usable = is_usable & part.is_held_out(digests)
    labelled = np.flatnonzero(is_usable)
    new = np.flatnonzero(is_usable & ~images.is_trained_on)
    index = new if len(new) >= MIN_ROWS else labelled
    if len(index) < MIN_ROWS:
        raise InputError(
            f"the calibration is refitted, which needs {MIN_ROWS} labelled images of the "
            f"model's classes that its network was not trained on, and there are {len(index)}; "
            "name a folder of them with --check-images"
        )
    return index


def score_rows(
    classifier: Classifier,
    images: CheckImages,
    index: Labels,
    changed: Features,
    seed: int = 0,
    *,
    refitted: Classifier | None = None,
) -> HonestRows:
    """Return labelled images scored with their original and their changed features.

    Args:
        classifier: The classifier.
        images: The images, with original features.
        index: Those that are used, from `find_honest_index`, `[m]`.
        changed: Their changed features, `[m, d]`.
        seed: Seed of the folds.
        refitted: The classifier with head and detector fitted to changed features; None if they
            stay as they are.

    Raises:
        InputError: The images were trained on, and the method of the head is not known.
    """
    x, y = images.x[index], images.y[index]
    group = find_row_groups(classifier, images, index)
    if not images.is_trained_on[index].any():
        after_all = refitted or classifier
        logits, scores = after_all.model.logits(changed), after_all.ood_detector.score(changed)
        return HonestRows(index, y, group, classifier.model.logits(x), logits, scores, False)
    method = parse_method(classifier)
    data = Data(x, y, classifier.classes, group=group)
    fold = stratified_folds(y, N_FOLDS, seed, group)
    shape = (len(y), data.k)
    before, after, score = np.full(shape, np.nan), np.full(shape, np.nan), np.full(len(y), np.nan)
    detector = classifier.ood_detector
    for is_train, test_rows in split_rows(data, fold):
        train = data.take(is_train)
        model = method.fit(train)
        before[test_rows] = check_logits(model.logits(x[test_rows]))
        if refitted is not None:
            train = replace(train, x=changed[is_train])
            model = method.fit(train)
        after[test_rows] = check_logits(model.logits(changed[test_rows]))
        columns = replace(train, x=detector.select_columns(train.x))
        score[test_rows] = fit_gaussian(columns).score(detector.select_columns(changed[test_rows]))
    tested = np.flatnonzero(fold >= 0)
    return HonestRows(
        index[tested], y[tested], group[tested], before[tested], after[tested], score[tested], True
    )


def find_row_groups(classifier: Classifier, images: CheckImages, index: Labels) -> Labels:
    """Return the group of each of some images, `[m]`; -1 for a group of its own.

    If the fit found clusters of images that depend on each other, and calibrated with each of them
    in one fold, so is the calibration that is fitted anew: else sets would cover less than before.
    """
    rows = [images.rows[i] for i in index]
    group = number_row_groups(rows)
    summary = classifier.summary_statistics
    if has_shared_groups(group) or summary is None or not has_shared_groups(summary.groups):
        return group
    clusters = find_clusters(rows, images.x[index], images.y[index])
    return clusters.group if clusters.matter else group


def parse_method(classifier: Classifier) -> Method:
    """Return the method of a classifier's head.

    Raises:
        InputError: It is not one method whose settings are recorded, such as that of an ensemble.
    """
    text = str(classifier.metadata.get("method", ""))
    try:
        method = parse(text)
    except IlkError:
        raise InputError(
            f"the head of this model ({text or 'of an unknown method'}) cannot be fitted to folds "
            "again, and all labelled images are those that it was fitted to; name labelled images "
            "that it has not seen with --check-images"
        ) from None
    return method


def recalibrate(classifier: Classifier, rows: HonestRows) -> Classifier:
    """Return the classifier with calibration, sets and threshold of the changed features."""
    calibration = Calibration.fit(rows.changed_logits, rows.y)
    p = calibration.to_probabilities(rows.changed_logits)
    priors = classifier.class_priors
    conformal = ConformalPredictor.fit(
        p if priors is None else priors.adjust(p),
        rows.y,
        classifier.conformal.level,
        rows.changed_score,
        None if priors is None else priors.ratio[rows.y],
        rows.group,
    )
    detector = classifier.ood_detector
    if detector.n_rows:  # otherwise nothing is ever flagged
        detector = detector.with_threshold(rows.changed_score, rows.group)
    return replace(classifier, calibration=calibration, conformal=conformal, ood_detector=detector)
