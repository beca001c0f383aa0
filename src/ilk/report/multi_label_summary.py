"""Summarize a multi-label fit in a few sentences."""

from __future__ import annotations

import numpy as np

from ilk.report.formatting import (
    abbreviate,
    escape_text,
    format_count,
    format_level,
    format_percent,
    format_with_interval,
    join_words,
)
from ilk.report.multi_label_data import MultiLabelReport
from ilk.report.summary import SPLIT_PURPOSES


def build_label_summary(report: MultiLabelReport) -> list[tuple[str, str]]:
    """Return pairs of subject and text."""
    s = report.scores
    parts = [
        f"{format_count(n, 'labelled image')} {SPLIT_PURPOSES.get(split, split)}"
        for split, n in report.n_images.items()
        if n
    ]
    data = f"“{escape_text(report.source)}” contains {join_words(parts)}"
    if report.n_unlabelled:
        data += f", and {format_count(report.n_unlabelled, 'image')} whose labels are unknown"
    per_image = float(report.targets.sum(1).mean())
    n_none = int(np.sum(~report.targets.any(1)))
    chance = float(np.mean([label.support / s.n for label in s.labels if label.support] or [0]))
    scored = [r for r in report.results if r.scores is not None]
    hardest = min(
        (label for label in s.labels if label.support), key=lambda label: label.average_precision
    )
    n_flagged = int(report.is_unknown.sum())
    sections = {
        "Data": (
            f"{data}. There are {format_count(len(report.classes), 'label')}, "
            f"{per_image:.2f} per evaluated image on average; no label applies to {n_none:,}."
        ),
        "Selection": (
            f"Of {format_count(len(scored), 'combination')} of encoder and method, fitted to each "
            f"label against the rest, {escape_text(report.method)} on "
            f"{escape_text(report.encoder)} has the greatest mean average precision in "
            f"{report.n_folds}-fold cross-validation."
        ),
        "Ranking": (
            f"Evaluated on {escape_text(report.evaluated_on)}, the mean average precision is "
            f"{format_with_interval(s.mean_average_precision)}; a random order would reach "
            f"{format_percent(chance)}. The hardest label is “{abbreviate(hardest.name)}” with "
            f"{format_percent(hardest.average_precision)}."
        ),
        "Decisions": (
            "A label is predicted if its probability reaches the threshold with the greatest F1 "
            f"out of fold. The F1 is {format_percent(s.macro_f1)} on average over labels, and all "
            "labels are "
            f"correct for {format_percent(s.exact_match.value)} of {format_count(s.n, 'image')}."
        ),
        "Calibration": (
            f"The expected calibration error is {100 * s.calibration_error:.1f} points over all "
            "pairs of image and label."
        ),
        "Unknown images": (
            "Images that are unlike the training images are flagged as unknown, about "
            f"{format_level(report.false_alarm)} of ordinary images by mistake; {n_flagged:,} of "
            f"{s.n:,} evaluated images {'was' if n_flagged == 1 else 'were'} flagged."
        ),
    }
    return list(sections.items())
