"""Compute metrics of the evaluated images: per class, confused pairs, set sizes, mistakes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.core.metrics import Interval, reliability_curve, wilson_interval
from ilk.maths.clusters import compute_interval
from ilk.report.report_data import ReportData

N_BINS = 10  # of the reliability curve


@dataclass(frozen=True)
class ConfusedPair:
    """`count` images of class `true_class` were classified as `predicted_class`."""

    true_class: int
    predicted_class: int
    count: int


@dataclass(frozen=True)
class ClassScore:
    """Metrics of one class; `precision` is None if the class was never predicted."""

    index: int
    n: int
    recall: Interval
    precision: float | None
    top_confusion: ConfusedPair | None


@dataclass(frozen=True)
class SetSizeRange:
    """`n` prediction sets of `low` to `high` classes; `n_covered` contain the true class."""

    low: int
    high: int
    n: int
    n_covered: int


@dataclass(frozen=True)
class ReliabilityBin:
    """Mean confidence and accuracy of the `n` images in one bin of confidence."""

    index: int
    confidence: float
    accuracy: Interval
    n: int


class EvaluationMetrics:
    """Metrics derived from the arrays of `ReportData`; pairs of classes are stored sparsely.

    Attributes:
        y: True classes, `[n]`.
        predicted: Predicted classes, `[n]`.
        confidence: Probability of the predicted class, `[n]`.
        set_size: Number of classes in each prediction set, `[n]`.
        is_covered: Whether each prediction set contains the true class, `[n]`.
    """

    def __init__(self, report: ReportData) -> None:
        self.y = np.asarray(report.y, np.int64)
        self.n_classes = len(report.classes)
        self.probabilities = report.probabilities
        empty = not len(self.y)
        self.predicted: Labels = (
            self.y if empty else np.argmax(report.probabilities, 1).astype(np.int64)
        )
        self.confidence: NDArray[np.float64] = np.asarray(
            [] if empty else np.max(report.probabilities, 1), np.float64
        )
        self.set_size: Labels = np.asarray(report.prediction_sets, bool).sum(1, dtype=np.int64)
        self.groups = report.groups
        self.is_covered = np.asarray(report.prediction_sets, bool)[np.arange(len(self.y)), self.y]

    def __len__(self) -> int:
        return len(self.y)

    @property
    def is_correct(self) -> NDArray[np.bool_]:
        """Whether the predicted class is correct, `[n]`."""
        same: NDArray[np.bool_] = np.equal(self.y, self.predicted)
        return same

    @cached_property
    def class_pairs(self) -> list[ConfusedPair]:
        """All pairs of true and predicted class that occur, most frequent first."""
        codes, counts = np.unique(self.y * self.n_classes + self.predicted, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        return [
            ConfusedPair(
                int(codes[i]) // self.n_classes, int(codes[i]) % self.n_classes, int(counts[i])
            )
            for i in order
        ]

    @property
    def confused_pairs(self) -> list[ConfusedPair]:
        """Pairs of different classes, most frequent first."""
        return [p for p in self.class_pairs if p.true_class != p.predicted_class]

    @cached_property
    def per_class(self) -> list[ClassScore]:
        """Metrics of each class, in the order of the classes."""
        n = np.bincount(self.y, minlength=self.n_classes)
        predicted = np.bincount(self.predicted, minlength=self.n_classes)
        correct = np.bincount(self.y[self.is_correct], minlength=self.n_classes)
        top_confusions: dict[int, ConfusedPair] = {}
        for pair in self.confused_pairs:
            top_confusions.setdefault(pair.true_class, pair)
        return [
            ClassScore(
                c,
                int(n[c]),
                self.compute_recall(c),
                float(correct[c] / predicted[c]) if predicted[c] else None,
                top_confusions.get(c),
            )
            for c in range(self.n_classes)
        ]

    def compute_recall(self, c: int) -> Interval:
        """Return the recall of class `c`; images of one group count as right or wrong together."""
        rows = self.y == c
        groups = None if self.groups is None else self.groups[rows]
        return compute_interval(self.is_correct[rows], groups)

    @cached_property
    def mistakes(self) -> Labels:
        """Indices of misclassified rows, most confident first, `[m]`."""
        wrong = np.flatnonzero(~self.is_correct)
        return wrong[np.argsort(-self.confidence[wrong], kind="stable")]

    def compute_bins(self) -> list[ReliabilityBin]:
        """Return the non-empty bins of the reliability curve."""
        if not len(self):
            return []
        return [
            ReliabilityBin(
                min(int(confidence * N_BINS), N_BINS - 1),
                confidence,
                wilson_interval(round(accuracy * n), n),
                n,
            )
            for confidence, accuracy, n in reliability_curve(self.y, self.probabilities, N_BINS)
        ]

    def count_set_sizes(self) -> list[SetSizeRange]:
        """Count prediction sets by size, in ranges 0, 1, 2, 3, 4 to 5, 6 to 10 and so on."""
        ranges = []
        for low, high in _make_size_ranges(self.n_classes):
            inside = (self.set_size >= low) & (self.set_size <= high)
            if inside.any():
                ranges.append(
                    SetSizeRange(low, high, int(inside.sum()), int(self.is_covered[inside].sum()))
                )
        return ranges


def _make_size_ranges(k: int) -> list[tuple[int, int]]:
    edges = [(0, 0), (1, 1), (2, 2), (3, 3), (4, 5), (6, 10), (11, 30), (31, 100), (101, k)]
    return [(low, min(high, k)) for low, high in edges if low <= k]
