"""Evaluate a multi-label classifier on labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ilk.artifacts.multi_label_classifier import LabelBatch, MultiLabelClassifier
from ilk.core.data import Labels
from ilk.core.errors import InputError
from ilk.core.metrics import Interval
from ilk.core.progress import Progress, silent_progress
from ilk.encode import encode_and_refuse
from ilk.images import Images, Row, adopt_spellings, number_row_groups
from ilk.images.value_ranges.model_ranges import use_ranges
from ilk.maths.clusters import compute_interval
from ilk.maths.folds import has_shared_groups
from ilk.maths.iterative_stratification import Targets
from ilk.multilabel.average_precision import draw_counts
from ilk.multilabel.metrics import MultiLabelScores, score_labels
from ilk.store import Store


@dataclass(frozen=True, eq=False)
class MultiLabelEvaluation:
    """Predictions for labelled images.

    Attributes:
        classes: The labels, `k` of them.
        rows: The images, `n` of them.
        targets: Whether each label applies, `[n, k]`.
        scored: Probabilities, predictions and out-of-distribution scores of the `n` images.
        seed: Seed of the bootstrap.
    """

    classes: tuple[str, ...]
    rows: tuple[Row, ...]
    targets: Targets
    scored: LabelBatch
    seed: int = 0

    @cached_property
    def scores(self) -> MultiLabelScores:
        """All metrics."""
        scored = self.scored
        groups = self.groups
        counts = draw_counts(len(self.rows), seed=self.seed, groups=groups)
        return score_labels(
            self.classes, self.targets, scored.probabilities, scored.predicted, counts, groups
        )

    @cached_property
    def groups(self) -> Labels | None:
        """Group of each image, `[n]`, -1 for none; None if no two images share one."""
        groups = number_row_groups(self.rows)
        return groups if has_shared_groups(groups) else None

    @property
    def unknown_rate(self) -> Interval:
        """Proportion flagged as out-of-distribution; these are false alarms."""
        return compute_interval(self.scored.is_unknown, self.groups)

    def to_json(self) -> dict[str, Any]:
        """Return all metrics as values that JSON can represent; undefined ones are None."""
        metrics = asdict(self.scores)
        for label in metrics["labels"]:
            label |= {key: None for key, value in label.items() if value != value}
        return {**metrics, "unknown_rate": asdict(self.unknown_rate)}


def encode_targets(rows: Sequence[Row], classes: Sequence[str]) -> Targets:
    """Return whether each label applies to each row, `[n, k]`; other labels are ignored."""
    index = {name: c for c, name in enumerate(classes)}
    targets = np.zeros((len(rows), len(classes)), bool)
    for i, row in enumerate(rows):
        targets[i, [index[name] for name in row.names if name in index]] = True
    return targets


def evaluate_labels(
    classifier: MultiLabelClassifier, rows: Sequence[Row], store: Store, seed: int = 0
) -> MultiLabelEvaluation:
    """Evaluate a classifier on encoded images with known labels."""
    x = store.get(classifier.encoder.space, [row.digest for row in rows])
    return MultiLabelEvaluation(
        classifier.classes,
        tuple(rows),
        encode_targets(rows, classifier.classes),
        classifier.score_batch(x),
        seed,
    )


def evaluate_multi_label_images(
    classifier: MultiLabelClassifier,
    images: Images,
    *,
    store: Store,
    progress: Progress = silent_progress,
) -> tuple[MultiLabelEvaluation, Images, list[str]]:
    """Evaluate a classifier on the images whose labels are known.

    Returns:
        The evaluation, the images with their updated status, and notes on what was left out.

    Raises:
        InputError: No image has a label of the classifier.
    """
    images = use_ranges(images, classifier.value_ranges, store, progress)
    images = encode_and_refuse(images, [classifier.encoder], store, progress=progress)
    images, spelling_note = adopt_spellings(images, classifier.classes)
    labelled = [row for row in images.used if row.labels is not None]
    others = sorted({name for row in labelled for name in row.names} - set(classifier.classes))
    if not any(set(row.names) & set(classifier.classes) for row in labelled):
        raise InputError(
            "no image has a label of the model; its labels are: "
            f"{', '.join(map(repr, classifier.classes[:5]))}; those of the images are: "
            f"{', '.join(map(repr, others[:5])) or 'none'}"
        )
    notes = [spelling_note, describe_unlabelled(len(images.used) - len(labelled))]
    if others:
        notes.append(
            f"{len(others)} labels are not known to the model ({', '.join(others[:5])}) and are "
            "ignored"
        )
    return evaluate_labels(classifier, labelled, store), images, list(filter(None, notes))


def describe_unlabelled(n: int) -> str:
    """Return a note on images whose labels are unknown, or ""."""
    if not n:
        return ""
    subject, verb = ("1 image has", "is") if n == 1 else (f"{n:,} images have", "are")
    return (
        f"{subject} no labels (an empty cell means unknown) and {verb} left out; "
        "write none where no label applies"
    )
