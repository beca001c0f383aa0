"""Collect the data of a multi-label report and the metadata of the model, and render the files."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from ilk.artifacts.multi_label_classifier import MultiLabelClassifier
from ilk.artifacts.multi_label_evaluation import MultiLabelEvaluation, encode_targets
from ilk.core.contracts import describe
from ilk.core.plain_json import encode_json
from ilk.core.versions import format_now, get_versions
from ilk.fitting.config import FitConfig
from ilk.fitting.multi_label_selection import LabelLeaderboard
from ilk.fitting.multi_label_split import LabelSplit
from ilk.fitting.split import fingerprint_images
from ilk.images import Images
from ilk.report.multi_label_data import MultiLabelReport
from ilk.report.multi_label_render import render_multi_label_report
from ilk.report.multi_label_tables import label_leaderboard_to_json


def build_multi_label_report(
    images: Images,
    config: FitConfig,
    split: LabelSplit,
    leaderboard: LabelLeaderboard,
    classifier: MultiLabelClassifier,
    evaluation: MultiLabelEvaluation,
    notes: list[str],
) -> MultiLabelReport:
    """Return the data of the report."""
    rows = {"train": split.train} | (
        {split.held_out_name: split.held_out} if split.held_out else {}
    )
    scored = evaluation.scored
    paths = [images.shown_path_of(row) for row in evaluation.rows]
    flagged = sorted(np.flatnonzero(scored.is_unknown), key=lambda i: -scored.unknown_score[i])
    return MultiLabelReport(
        command=f"ilk.fit(ilk.read({str(images.root)!r}, multi_label=True), {config!r})",
        version=", ".join(f"{name} {v}" for name, v in get_versions().items()),
        date=format_now(),
        seed=config.seed,
        source=str(images.root or "a list of files"),
        classes=split.classes,
        label_counts={
            name: [int(n) for n in encode_targets(part, split.classes).sum(0)]
            for name, part in rows.items()
        },
        n_images={name: len(part) for name, part in rows.items()},
        n_unlabelled=len(split.unlabelled),
        results=leaderboard.results,
        encoder=leaderboard.winner[0],
        method=describe(leaderboard.winner[1]),
        corrected=leaderboard.corrected,
        n_folds=leaderboard.n_folds,
        evaluated_on=split.evaluated_on,
        targets=evaluation.targets,
        probabilities=scored.probabilities,
        predicted=scored.predicted,
        thresholds=classifier.thresholds.values,
        is_unknown=scored.is_unknown,
        paths=paths,
        scores=evaluation.scores,
        false_alarm=config.false_alarm,
        unknown_examples=[(paths[i], float(scored.unknown_score[i])) for i in flagged],
        notes=notes,
        images=images,
    )


def make_metadata(
    images: Images,
    config: FitConfig,
    split: LabelSplit,
    report: MultiLabelReport,
    classifier: MultiLabelClassifier,
    evaluation: MultiLabelEvaluation,
) -> dict[str, Any]:
    """Return the metadata that is saved in `model.json`."""
    winner = label_leaderboard_to_json(report)["rows"][0]["scores"]
    return {
        "method": report.method,
        "thresholds": {
            "labels": dict(zip(split.classes, report.thresholds.tolist(), strict=True)),
            "false_alarm": classifier.ood_detector.false_alarm,
            "unknown": classifier.ood_detector.threshold,
        },
        "metrics": {
            "cross_validation": winner,
            "corrected_mean_average_precision": asdict(report.corrected),
            "evaluated_on": report.evaluated_on,
            "evaluation": evaluation.to_json(),
        },
        "notes": list(report.notes),
        "seed": config.seed,
        "value_ranges": dict(images.value_ranges),
        "data": {
            "fingerprint": fingerprint_images(images),
            "train": len(split.train),
            "held_out": len(split.held_out),
        },
        "versions": get_versions(),
    }


def render_multi_label_side_files(report: MultiLabelReport) -> dict[str, bytes]:
    """Return the contents of leaderboard.json, intake.json and report.html."""
    return {
        "leaderboard.json": encode_json(label_leaderboard_to_json(report)),
        "intake.json": encode_json(report.images.to_json()),
        "report.html": render_multi_label_report(report).encode("utf-8"),
    }
