"""Summarize a fit in a few sentences."""

from __future__ import annotations

from collections import Counter

import numpy as np

from ilk.core.metrics import Scores
from ilk.report.formatting import (
    abbreviate,
    escape_text,
    format_count,
    format_interval,
    format_level,
    format_percent,
    format_with_interval,
    join_words,
)
from ilk.report.metrics import EvaluationMetrics
from ilk.report.report_data import ReportData

SPLIT_PURPOSES = {
    "train": "for training",
    "val": "for validation",
    "test": "held out for testing",
}


def format_headline(report: ReportData, metrics: EvaluationMetrics) -> str:
    """Return the title of the report: the number of classes and the accuracy."""
    kinds = format_count(len(report.classes), "class", "classes")
    if report.scores is None or not len(metrics):
        return f"Classifier for {kinds}, not yet evaluated"
    title = f"Classifier for {kinds}: {format_percent(report.scores.accuracy.value)} accuracy"
    held = report.held_together
    if held is None or not held.is_lower:
        return title
    if len(report.class_counts) > 1:  # a held-out split, which may hold images of the same clusters
        return f"{title}; expect {format_percent(held.accuracy.value)} for new groups of images"
    plain = format_percent(held.plain.value)
    return f"{title} for new groups of images, {plain} for near-copies of training images"


def build_summary(report: ReportData, metrics: EvaluationMetrics) -> list[tuple[str, str]]:
    """Return pairs of subject and text; subjects without content are omitted."""
    sections = {
        "Data": _describe_data(report),
        "Groups": " ".join(map(_format_sentence, report.group_notes)),
        "Selection": _describe_selection(report),
        "Accuracy": _describe_accuracy(report, metrics),
        "Dependence": _describe_dependence(report),
        "Errors": _describe_hardest_class(report, metrics),
        "Calibration": _describe_calibration(report, metrics),
        "Prediction sets": _describe_sets(report, metrics),
        "Unknown images": _describe_unknown(report, metrics),
        "Pretrained weights": " ".join(f"{escape_text(credit)}." for credit in report.credits),
        "Refused files": _describe_refused(report),
        "Labels": _format_sentence(report.label_note),
    }
    return [(subject, text) for subject, text in sections.items() if text]


def _describe_data(report: ReportData) -> str:
    parts = [
        f"{format_count(int(np.sum(counts)), 'labelled image')} "
        f"{SPLIT_PURPOSES.get(split, f'in split {split}')}"
        for split, counts in report.class_counts.items()
        if np.sum(counts)
    ]
    source = escape_text(report.source)
    text = f"“{source}” contains {join_words(parts) if parts else 'no labelled image'}"
    if report.n_unlabelled:
        text += f", and {format_count(report.n_unlabelled, 'image')} without a label"
    return f"{text}. There are {format_count(len(report.classes), 'class', 'classes')}."


def _describe_selection(report: ReportData) -> str:
    scored = [r for r in report.results if r.scores is not None]
    winner = f"{escape_text(report.method)} on {escape_text(report.encoder)}"
    if not scored:
        return f"No candidate could be evaluated, so {winner} was selected by default."
    n_tied = sum(
        r.is_tied and (r.encoder, r.method) != (report.encoder, report.method) for r in scored
    )
    tried = format_count(len(scored), "combination")
    text = f"Of {tried} of encoder and method, {winner} was selected"
    if n_tied:
        text += f"; {format_count(n_tied, 'other is', 'others are')} not significantly worse"
    n_failed = len(report.results) - len(scored)
    if n_failed:
        were = format_count(n_failed, "combination was", "combinations were")
        text += f". {were} not fully evaluated"
    return text + "."


def _describe_accuracy(report: ReportData, metrics: EvaluationMetrics) -> str:
    if report.scores is None or not len(metrics):
        return "No image could be evaluated: there is no test split and no cross-validation."
    n, n_correct = len(metrics), int(metrics.is_correct.sum())
    majority = np.bincount(metrics.y).max() / n
    return (
        f"Evaluated on {escape_text(report.evaluated_on)}, {n_correct:,} of "
        f"{format_count(n, 'image')} {'was' if n_correct == 1 else 'were'} classified correctly: "
        f"accuracy {format_with_interval(report.scores.accuracy)}. Always predicting the most "
        f"frequent class would reach {format_percent(majority)}.{_describe_order(report.scores)}"
    )


def _describe_dependence(report: ReportData) -> str:
    """Return how much of the accuracy rests on images that depend on each other."""
    if (held := report.held_together) is None:
        return ""
    text = (
        f"{held.n_images:,} of {format_count(held.n_train, 'training image')} lie in "
        f"{format_count(held.n_clusters, 'cluster')} of pictures that depend on each other "
        f"({escape_text(held.evidence)}). With each cluster in one fold, the accuracy is "
        f"{format_with_interval(held.accuracy)}; with images assigned to folds one by one, it is "
        f"{format_with_interval(held.plain)}"
    )
    if not held.is_lower:
        return (
            f"{text}. That is not a clear difference; the leaderboard shows the latter, and "
            "everything else the former."
        )
    return (
        f"{text}. The leaderboard shows the latter, and everything else the former, which is to be "
        "expected for new patients, scenes or days. To compare the methods that way, too, fit "
        f"again with {escape_text(held.option)}."
    )


def _describe_order(scores: Scores) -> str:
    if scores.mean_absolute_error is None:
        return ""
    return (
        f" The mean absolute error is {scores.mean_absolute_error:.3f}, in units of the classes, "
        "if the median of the probabilities is predicted, which minimizes it."
    )


def _describe_hardest_class(report: ReportData, metrics: EvaluationMetrics) -> str:
    if not len(metrics) or report.scores is None:
        return ""
    if not metrics.confused_pairs:
        return "No evaluated image was misclassified."
    scored = [c for c in metrics.per_class if c.n]
    worst = min(scored, key=lambda c: (c.recall.value, -c.n))
    pair = metrics.confused_pairs[0]
    return (
        f"The macro accuracy is {format_percent(report.scores.macro_accuracy)}. "
        f"The hardest class is “{abbreviate(report.classes[worst.index])}”, with "
        f"{format_percent(worst.recall.value)} of {format_count(worst.n, 'image')} correct. The "
        f"most frequent error is “{abbreviate(report.classes[pair.true_class])}” classified as "
        f"“{abbreviate(report.classes[pair.predicted_class])}”, {_format_times(pair.count)}."
    )


def _format_times(n: int) -> str:
    return {1: "once", 2: "twice"}.get(n, f"{n:,} times")


def _describe_calibration(report: ReportData, metrics: EvaluationMetrics) -> str:
    if report.scores is None or not len(metrics):
        return ""
    gap = float(metrics.confidence.mean() - metrics.is_correct.mean())
    if abs(gap) < 0.005:
        mean = "the mean confidence over all images matches the accuracy"
    else:
        direction = "above" if gap > 0 else "below"
        mean = f"the mean confidence is {100 * abs(gap):.1f} points {direction} the accuracy"
    error = 100 * report.scores.calibration_error
    return f"The expected calibration error is {error:.1f} points; {mean}."


def _describe_sets(report: ReportData, metrics: EvaluationMetrics) -> str:
    if not len(metrics):
        return ""
    n_empty = int(np.sum(metrics.set_size == 0))
    text = (
        f"The prediction sets contain the true class in {format_percent(report.coverage.value)} "
        f"of cases ({format_interval(report.coverage)}); the target is "
        f"{format_level(report.target_coverage)}. They contain {metrics.set_size.mean():.2f} "
        f"classes on average, and {format_percent(float(np.mean(metrics.set_size == 1)))} of them "
        "contain a single class"
    )
    if n_empty:
        text += f"; {n_empty:,} {'is' if n_empty == 1 else 'are'} empty"
    return text + "."


def _describe_unknown(report: ReportData, metrics: EvaluationMetrics) -> str:
    text = (
        "Images that are unlike the training images are flagged as unknown. The threshold is set "
        f"so that about {format_level(report.false_alarm)} of images of known classes are flagged "
        "by mistake"
    )
    if not len(metrics):
        return text + "."
    n_flagged = int(np.sum(report.is_unknown))
    if not n_flagged:
        return f"{text}; none of {len(metrics):,} evaluated images was flagged."
    return (
        f"{text}; {n_flagged:,} of {len(metrics):,} evaluated images "
        f"({format_percent(n_flagged / len(metrics))}) {'was' if n_flagged == 1 else 'were'} "
        "flagged."
    )


def _describe_refused(report: ReportData) -> str:
    n_files, refused = len(report.images.rows), report.images.refused
    if not n_files:
        return ""
    if not refused:
        return f"None of the {format_count(n_files, 'file')} was refused."
    reasons = Counter(row.reason for row in refused).most_common()
    parts = [f"{escape_text(reason)} ({n:,})" for reason, n in reasons]
    return (
        f"{len(refused):,} of {format_count(n_files, 'file')} "
        f"{'was' if len(refused) == 1 else 'were'} refused: {join_words(parts)}."
    )


def _format_sentence(note: str) -> str:
    return f"{escape_text(note[:1].upper() + note[1:])}." if note else ""
