"""Fit a classifier to the labels, tested on the audit slice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilk.core.metrics import Interval
from ilk.core.progress import Progress
from ilk.images import Images, Row, escape_path
from ilk.labelling.exports import LabelledItem, select_labelled
from ilk.report.formatting import format_count, format_with_interval
from ilk.store import Store

if TYPE_CHECKING:
    from ilk.artifacts.classifier import Classifier
    from ilk.fitting.encoding import LogCallback

MIN_TRAIN = 2  # images of a class that a model learns from, besides the audit


def fit_labels(
    path: Path,
    images: Images,
    labelled: Sequence[LabelledItem],
    settings: Mapping[str, Any],
    store: Store | None,
    progress: Progress,
    log: LogCallback,
) -> Classifier:
    """Fit and save a classifier; see `LabellingSession.fit_model`."""
    from ilk.fitting.fit import FitConfig, fit_with_report

    audited, note = choose_test_images(select_labelled(labelled))
    notes = list(images.notes)
    if note:
        notes.append(note)
        log(note)
    rows = _label_rows(images.rows, labelled, audited)
    classifier, _ = fit_with_report(
        replace(images, rows=rows, notes=tuple(notes)),
        FitConfig(**settings),
        store=store,
        progress=progress,
        log=log,
    )
    classifier.save(path)
    return classifier


def describe_accuracy(classifier: Classifier) -> str:
    """Return how accurate a classifier is and on what that was measured; "" where nothing was."""
    metrics = classifier.metadata.get("metrics") or {}
    evaluation = metrics.get("evaluation")
    if not evaluation:
        return ""
    accuracy, n = Interval(**evaluation["accuracy"]), evaluation["n"]
    is_held_out = classifier.metadata["data"]["held_out"] > 0
    on = (
        "drawn at random, from which it has not learned"
        if is_held_out
        else "in cross-validation, which is too low if a model chose the images"
    )
    return f"accuracy {format_with_interval(accuracy)} on {format_count(n, 'image')} {on}"


def choose_test_images(labelled: Sequence[LabelledItem]) -> tuple[set[str], str]:
    """Return the audited images that a model is tested on, by digest, and a note or "".

    The model learns from those of a class that would be left with fewer than `MIN_TRAIN` others.
    """
    audited = {one.item.digest for one in labelled if one.is_audited}
    train = Counter(one.label for one in labelled if not one.is_audited)
    few = sorted({str(x.label) for x in labelled if x.is_audited and train[x.label] < MIN_TRAIN})
    if not few:
        return audited, ""
    audited -= {one.item.digest for one in labelled if one.label in few}
    measured = (
        "that of images of the other classes"
        if audited
        else "that of cross-validation, which is too low if a model chose the images"
    )
    return audited, (
        f"{', '.join(map(escape_path, few))} would have fewer than {MIN_TRAIN} images to learn "
        "from, so the model learns from its images drawn at random as well, and the accuracy is "
        f"{measured}"
    )


def _label_rows(
    rows: Sequence[Row], labelled: Sequence[LabelledItem], test: set[str]
) -> tuple[Row, ...]:
    """Return rows with their labels, and those of `test` as test part."""
    labels = {one.item.digest: one.label for one in labelled}
    return tuple(
        replace(row, label=labels[row.digest], split="test" if row.digest in test else "train")
        if row.status == "used" and row.digest in labels
        else row
        for row in rows
    )
