"""Build the confusion matrix and the table of confused pairs."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from markupsafe import Markup

from ilk.report.charts import draw_proportion_bar
from ilk.report.formatting import abbreviate, format_percent_value
from ilk.report.metrics import EvaluationMetrics
from ilk.report.report_data import ReportData

MAX_MATRIX_CLASSES = 20  # with more classes, list confused pairs instead of the matrix
MAX_PAIRS = 40
MIN_TINT, MAX_TINT = 0.06, 0.5  # opacity; higher values reduce the contrast of the text


@dataclass(frozen=True)
class ConfusionCell:
    """A cell of the confusion matrix; `tint` is the opacity of its background."""

    count: int
    tint: float
    is_correct: bool


def build_confusion_matrix(
    report: ReportData, metrics: EvaluationMetrics
) -> list[tuple[str, list[ConfusionCell]]]:
    """Return the confusion matrix; empty if there are too many classes or no image.

    The tint of an error is proportional to the square root of its proportion of the row, relative
    to the largest such proportion.
    """
    k = len(report.classes)
    if k > MAX_MATRIX_CLASSES or not len(metrics):
        return []
    counts = np.zeros((k, k), np.int64)
    for pair in metrics.class_pairs:
        counts[pair.true_class, pair.predicted_class] = pair.count
    proportions = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    worst = max(float(proportions[~np.eye(k, dtype=bool)].max(initial=0.0)), 1e-12)
    return [
        (
            abbreviate(report.classes[i]),
            [
                ConfusionCell(
                    int(counts[i, j]), _compute_tint(float(proportions[i, j]) / worst), i == j
                )
                for j in range(k)
            ],
        )
        for i in range(k)
    ]


def _compute_tint(proportion: float) -> float:
    return round(MIN_TINT + (MAX_TINT - MIN_TINT) * sqrt(min(proportion, 1.0)), 3)


@dataclass(frozen=True)
class PairRow:
    """A confused pair of classes: count, and proportion of the true class."""

    true_class: str
    predicted_class: str
    count: str
    proportion: str
    bar: Markup


def build_pair_rows(report: ReportData, metrics: EvaluationMetrics) -> list[PairRow]:
    """Return the pairs that are confused most often."""
    return [
        PairRow(
            abbreviate(report.classes[p.true_class]),
            abbreviate(report.classes[p.predicted_class]),
            f"{p.count:,}",
            format_percent_value(p.count / metrics.per_class[p.true_class].n),
            draw_proportion_bar(p.count / metrics.per_class[p.true_class].n),
        )
        for p in metrics.confused_pairs[:MAX_PAIRS]
    ]
