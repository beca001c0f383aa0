"""Evaluate a classifier on labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from ilk.artifacts.classifier import Classifier
from ilk.artifacts.prediction import ScoredBatch
from ilk.core.data import Labels
from ilk.core.errors import InputError
from ilk.core.metrics import Interval, Scores
from ilk.core.ordered_classes import Values, score_ordered
from ilk.core.progress import Progress, silent_progress
from ilk.encode import encode_and_refuse
from ilk.images import Images, Row, adopt_spellings, number_row_groups
from ilk.images.labelled_rows import encode_labels
from ilk.images.value_ranges.model_ranges import use_ranges
from ilk.maths.clusters import compute_interval
from ilk.maths.folds import has_shared_groups
from ilk.store import Store
from ilk.trust.conformal import CoverageReport


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Predictions for labelled images.

    Attributes:
        rows: The images, `n` of them.
        y: Class indices, `[n]`.
        scored: Probabilities, conformal sets and out-of-distribution scores of the `n` images.
        target_coverage: Target coverage of the conformal sets, in (0, 1).
        class_values: Values of ordered classes, `[k]`; None without.
        clusters: Cluster of each image, `[n]`, -1 for none, where clusters of images that depend
            on each other were held together; None for the groups that the rows name.
    """

    rows: tuple[Row, ...]
    y: Labels
    scored: ScoredBatch
    target_coverage: float
    class_values: Values | None = None
    clusters: Labels | None = None

    @cached_property
    def groups(self) -> Labels | None:
        """Group of each image, `[n]`, -1 for none; None if no two images share one."""
        groups = number_row_groups(self.rows) if self.clusters is None else self.clusters
        return groups if has_shared_groups(groups) else None

    @property
    def scores(self) -> Scores:
        """Accuracy, macro accuracy, log loss, calibration and, if ordered, absolute error.

        The interval of the accuracy counts images of one group as right or wrong together.
        """
        p = self.scored.probabilities
        scores = score_ordered(self.y, p, self.class_values)
        if self.groups is None:
            return scores
        return replace(scores, accuracy=compute_interval(p.argmax(1) == self.y, self.groups))

    @property
    def coverage(self) -> Interval:
        """Proportion of conformal sets that contain the true class."""
        return CoverageReport.from_sets(self.scored.prediction_sets, self.y, self.groups).coverage

    @property
    def mean_set_size(self) -> float:
        """Mean number of classes in a conformal set."""
        return CoverageReport.from_sets(self.scored.prediction_sets, self.y).mean_size

    @property
    def unknown_rate(self) -> Interval:
        """Proportion flagged as out-of-distribution; these are false alarms."""
        is_unknown = self.scored.is_unknown
        return compute_interval(is_unknown, self.groups)

    def to_json(self) -> dict[str, Any]:
        """Return all metrics as values that JSON can represent."""
        return {
            **asdict(self.scores),
            "coverage": {"target": self.target_coverage, **asdict(self.coverage)},
            "mean_set_size": self.mean_set_size,
            "unknown_rate": asdict(self.unknown_rate),
        }


def evaluate_images(
    classifier: Classifier, images: Images, *, store: Store, progress: Progress = silent_progress
) -> tuple[Evaluation, Images, list[str]]:
    """Evaluate a classifier on the images whose label is one of its classes.

    Args:
        classifier: Classifier to evaluate.
        images: Labelled images.
        store: Cache of encoded images.
        progress: Reports the progress of encoding.

    Returns:
        The evaluation, the images with their updated status, and notes on excluded images.

    Raises:
        InputError: No image has a label that is one of the classes.
    """
    images = use_ranges(images, classifier.value_ranges, store, progress)
    images = encode_and_refuse(images, [classifier.encoder], store, progress=progress)
    images, spelling_note = adopt_spellings(images, classifier.classes)
    labelled = [row for row in images.used if row.label is not None]
    known_rows = tuple(row for row in labelled if row.label in classifier.classes)
    if not known_rows:
        model_names = ", ".join(map(repr, classifier.classes[:5]))
        label_names = ", ".join(map(repr, images.classes[:5])) or "none"
        raise InputError(
            f"no image has a label that is a class of the model; the classes are: {model_names}; "
            f"the labels are: {label_names}{images.hint and '; '}{images.hint}"
        )
    notes = [spelling_note] if spelling_note else []
    if n_unknown := len(labelled) - len(known_rows):
        names = sorted({str(r.label) for r in labelled} - set(classifier.classes))
        notes.append(
            f"{n_unknown} images have labels that are not classes of the model "
            f"({', '.join(names[:5])}) and are excluded from the scores"
        )
    return evaluate_rows(classifier, known_rows, store), images, notes


def evaluate_rows(classifier: Classifier, rows: Sequence[Row], store: Store) -> Evaluation:
    """Evaluate a classifier on encoded images whose labels are all among its classes."""
    x = store.get(classifier.encoder.space, [row.digest for row in rows])
    y = encode_labels(rows, classifier.classes)
    scored, level = classifier.score_batch(x), classifier.conformal.level
    return Evaluation(tuple(rows), y, scored, level, classifier.class_values)
