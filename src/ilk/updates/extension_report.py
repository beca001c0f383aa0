"""What an extension changed, measured on rows that neither model was fitted on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.artifacts.classifier import Classifier
from ilk.core.data import Labels, Logits
from ilk.core.errors import InputError
from ilk.core.metrics import Probabilities, calibration_error
from ilk.core.versions import format_now
from ilk.maths.roc_area import compute_roc_area
from ilk.updates.extended_models import HeldOutRows, StatisticsUpdate

MIN_AUC = 0.6  # of a new class against an old one, below which they count as the same
MIN_ROWS = 5  # of each class, for an AUC


@dataclass(frozen=True)
class ClassSimilarity:
    """How well a new class is distinguished from the old class most similar to it.

    Attributes:
        new_class: Name of the new class.
        old_class: The class that most of its rows were predicted as before.
        confusion_rate: Fraction of its rows that were, in [0, 1].
        auc: Area under the ROC curve of new against old rows, by leave-one-out; 1 if there are too
            few rows.
    """

    new_class: str
    old_class: str
    confusion_rate: float
    auc: float


@dataclass(frozen=True)
class ExtensionReport:
    """What an extension changed, measured on rows that neither model was fitted on.

    Attributes:
        date: Date of the extension.
        n_images: Number of added rows per class.
        n_old_rows: Number of held-out rows of the other classes, which the next three describe.
        old_accuracy: Accuracy before and after; None without such rows.
        old_agreement: Fraction predicted as before.
        taken_by_new: Fraction predicted as a class with added rows.
        max_logit_change: Greatest change of a difference between two old logits.
        median_margin: Median difference between the two greatest old logits, for comparison.
        calibration_error: Calibration error of old rows before, and of all rows after.
        recall: Leave-one-out recall of the added rows per class; None for a single row.
        similarities: The most similar old class of each new class.
        seconds: Duration of the extension.
    """

    date: str
    n_images: dict[str, int]
    n_old_rows: int
    old_accuracy: tuple[float | None, float | None]
    old_agreement: float | None
    taken_by_new: float | None
    max_logit_change: float
    median_margin: float
    calibration_error: tuple[float, float]
    recall: dict[str, float | None]
    similarities: tuple[ClassSimilarity, ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return all values as JSON types."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class ScoredClassifier:
    """A classifier, and leave-one-out logits `[m, k]` of some rows."""

    classifier: Classifier
    logits: Logits

    @property
    def probabilities(self) -> Probabilities:
        """Calibrated probabilities, `[m, k]`."""
        return self.classifier.to_probabilities(self.logits)


def measure_extension(
    before: ScoredClassifier, after: ScoredClassifier, update: StatisticsUpdate, rows: HeldOutRows
) -> ExtensionReport:
    """Return the report of an extension.

    Args:
        before: The classifier before, with logits of the rows of classes without added rows.
        after: The extended classifier, with logits of all `rows`.
        update: The added rows.
        rows: The left-out rows.
    """
    is_added = np.isin(rows.y, update.added.y)
    old_rows, y = rows.take(~is_added), rows.y[~is_added]
    p0, p1 = before.probabilities, after.probabilities
    before_class, after_class = p0.argmax(1), p1[~is_added].argmax(1)
    max_change, median_margin = _measure_logit_change(before.classifier, after.classifier, old_rows)
    names, counts = update.added.classes, update.added.count_labels()
    added_classes = [int(c) for c in np.flatnonzero(counts)]
    return ExtensionReport(
        date=format_now(),
        n_images={names[c]: int(counts[c]) for c in added_classes},
        n_old_rows=len(y),
        old_accuracy=(_mean_or_none(before_class == y), _mean_or_none(after_class == y)),
        old_agreement=_mean_or_none(before_class == after_class),
        taken_by_new=_mean_or_none(np.isin(after_class, added_classes)),
        max_logit_change=max_change,
        median_margin=median_margin,
        calibration_error=(calibration_error(y, p0), calibration_error(rows.y, p1)),
        recall={names[c]: _compute_recall(p1, rows.y, c) for c in added_classes},
        similarities=tuple(
            _find_similar_class(names, rows, after.logits, c)
            for c in added_classes
            if c >= update.n_old
        ),
        seconds=0.0,
    )


def _mean_or_none(values: NDArray[np.bool_]) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _measure_logit_change(
    before: Classifier, after: Classifier, rows: HeldOutRows
) -> tuple[float, float]:
    """Return the greatest change of a difference of old logits, and the median margin."""
    z = before.model.logits(rows.x)
    finite_classes = np.flatnonzero(np.isfinite(z).all(0))
    if not len(z) or len(finite_classes) < 2:
        return 0.0, 0.0
    change = after.model.logits(rows.x)[:, finite_classes] - z[:, finite_classes]
    top = np.sort(z[:, finite_classes], axis=1)[:, -2:]
    return float(np.max(np.ptp(change, axis=1))), float(np.median(top[:, 1] - top[:, 0]))


def _compute_recall(p: Probabilities, y: Labels, c: int) -> float | None:
    return _mean_or_none(p[y == c].argmax(1) == c)


def _find_similar_class(
    names: tuple[str, ...], rows: HeldOutRows, logits: Logits, c: int
) -> ClassSimilarity:
    """Return the old class that rows of `c` were predicted as most often, and the AUC."""
    is_new = rows.y == c
    if not is_new.any():
        return ClassSimilarity(names[c], "", 0.0, 1.0)
    counts = np.bincount(rows.logits[is_new].argmax(1))
    o = int(counts.argmax())
    is_old = rows.y == o
    n, m = int(is_new.sum()), int(is_old.sum())
    auc = 1.0
    if min(n, m) >= MIN_ROWS:
        margins = logits[:, c] - logits[:, o]
        auc = compute_roc_area(margins[is_old], margins[is_new])
    return ClassSimilarity(names[c], names[o], float(counts[o]) / n, auc)


def check_separable(report: ExtensionReport) -> None:
    """Check that no new class is an old one under another name.

    Raises:
        InputError: If most rows of a new class were predicted as an old class and cannot be
            distinguished from it.
    """
    for similarity in report.similarities:
        if similarity.auc < MIN_AUC and similarity.confusion_rate >= 0.5:
            new_class, old_class = similarity.new_class, similarity.old_class
            raise InputError(
                f"the {report.n_images[new_class]:,} images of {new_class!r} cannot be "
                f"distinguished from {old_class!r} ({similarity.confusion_rate:.0%} of them are "
                f"predicted as such, and the AUC is {similarity.auc:.2f}, where 0.5 is chance), so "
                f"nothing was added; add them to {old_class!r} with --allow-known, or pass --force"
            )
