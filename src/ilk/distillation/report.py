"""The report of a distillation, and what `model.json` says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial

import numpy as np

from ilk.artifacts.classifier import Classifier
from ilk.artifacts.evaluation import Evaluation
from ilk.artifacts.thresholds import describe_thresholds
from ilk.core.leaderboard import CandidateResult
from ilk.core.versions import format_now, get_versions
from ilk.distillation.augmentation_choice import AugmentationTrial
from ilk.distillation.comparison import HEADERS, STUDENT, Competitor
from ilk.distillation.config import DistillConfig
from ilk.distillation.parts import Parts
from ilk.distillation.teachers import TEACHER
from ilk.fitting.neighbour_rows import keep_neighbours
from ilk.fitting.side_files import drop_unused_contents, render_side_files
from ilk.fitting.split import fingerprint_images
from ilk.images import Images, describe_groups
from ilk.report import ReportData
from ilk.store import Store

TITLE, TITLE_OF_SEVERAL = "The student beside its teacher", "The student beside its teachers"


def finish_classifier(
    classifier: Classifier,
    evaluation: Evaluation,
    competitors: Sequence[Competitor],
    augmentations: Sequence[AugmentationTrial],
    parts: Parts,
    notes: Sequence[str],
    images: Images,
    config: DistillConfig,
    store: Store,
) -> Classifier:
    """Return the classifier with its description, report, and nearest training images.

    Args:
        classifier: The student.
        evaluation: Its answers to the images that it is judged on.
        competitors: The rows of the comparison.
        augmentations: Accuracy of the teacher on augmented images.
        parts: Images by their use.
        notes: Sentences about the result.
        images: All images.
        config: Settings.
        store: Features of the student's encoder.
    """
    method = describe_method(config)
    name = classifier.encoder.name
    made = (_make_candidate(row, name, method) for row in competitors)
    results = [candidate for candidate in made if candidate is not None]
    trained = [row for row in parts.train if row.label is not None]
    report = _build_report(
        classifier, evaluation, competitors, parts, notes, images, config, method, results
    )
    metadata = {
        **classifier.metadata,
        "method": method,
        "thresholds": describe_thresholds(classifier),
        "metrics": {
            "cross_validation": None,
            "corrected_accuracy": None,
            "evaluated_on": parts.judged_name,
            "evaluation": evaluation.to_json(),
        },
        "ensemble": None,
        "leaderboard": {
            "winner": {"encoder": classifier.encoder.name, "method": method},
            "folds": 0,
            "note": f"judged on {parts.judged_name}",
            "honest": None,
            "combination": None,
            "results": [asdict(row) for row in results],
        },
        "distillation": {
            "config": asdict(config),
            "comparison": [row.to_json() for row in competitors],
            "augmentations": [asdict(trial) for trial in augmentations],
        },
        "notes": [*notes, *images.notes],
        "value_ranges": dict(images.value_ranges),
        "seed": config.seed,
        "data": {
            "fingerprint": fingerprint_images(images),
            "train": len(parts.train),
            "held_out": len(parts.judged),
        },
        "versions": get_versions(),
    }
    return replace(
        classifier,
        metadata=metadata,
        side_files=partial(render_side_files, drop_unused_contents(report)),
        image_folders=images.folders,
        neighbours=keep_neighbours(
            images,
            trained,
            [str(row.label) for row in trained],
            classifier.encoder.space,
            store,
            thumbnails=True,
        ),
    )


def describe_method(config: DistillConfig) -> str:
    """Return how the student was trained, such as `distilled cnn-15k by KD`."""
    return f"distilled {config.student} by {config.loss}"


def _make_candidate(row: Competitor, encoder: str, method: str) -> CandidateResult | None:
    """Return a row of the leaderboard; the student's is named as the selected one.

    None for a teacher of other classes, which cannot be scored.
    """
    if row.scores is None:
        return None
    names = (encoder, method) if row.name == STUDENT else (row.name, row.description)
    return CandidateResult(*names, row.scores, row.seconds or 0.0)


def _build_report(
    classifier: Classifier,
    evaluation: Evaluation,
    competitors: Sequence[Competitor],
    parts: Parts,
    notes: Sequence[str],
    images: Images,
    config: DistillConfig,
    method: str,
    results: Sequence[CandidateResult],
) -> ReportData:
    counts = {
        "train": parts.train,
        "validation": parts.validation,
        "calibration": parts.calibration,
        **({"test": parts.test} if parts.test else {}),
    }
    k = len(parts.classes)
    title = TITLE if any(row.name == TEACHER for row in competitors) else TITLE_OF_SEVERAL
    return ReportData(
        command=f"ilk.distill({str(images.root)!r}, {config!r})",
        task=f"classify images into {k} classes",
        version=", ".join(f"{name} {v}" for name, v in get_versions().items()),
        date=format_now(),
        seed=config.seed,
        source=str(images.root or "a list of images"),
        classes=parts.classes,
        class_counts={
            name: np.bincount(parts.encode_labels(rows) + 1, minlength=k + 1)[1:]
            for name, rows in counts.items()
        },
        n_unlabelled=sum(row.label is None for row in parts.train),
        results=results,
        encoder=classifier.encoder.name,
        method=method,
        corrected_accuracy=None,
        folds_note=f"judged on {parts.judged_name}",
        evaluated_on=parts.judged_name,
        y=evaluation.y,
        probabilities=evaluation.scored.probabilities,
        prediction_sets=evaluation.scored.prediction_sets,
        target_coverage=classifier.conformal.level,
        is_unknown=evaluation.scored.is_unknown,
        paths=[images.shown_path_of(row) for row in evaluation.rows],
        scores=evaluation.scores,
        coverage=evaluation.coverage,
        false_alarm=classifier.ood_detector.false_alarm,
        notes=[*notes, *images.notes],
        images=images,
        groups=evaluation.groups,
        group_notes=describe_groups(evaluation.rows),
        comparison=(title, (HEADERS, *(row.format_cells() for row in competitors))),
    )
