"""Build the tables of results per class and of prediction sets."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from ilk.report.charts import draw_interval_bar, draw_proportion_bar
from ilk.report.formatting import abbreviate, format_interval, format_percent_value
from ilk.report.metrics import ClassScore, EvaluationMetrics, SetSizeRange
from ilk.report.report_data import ReportData

MAX_CLASS_ROWS = 40
MAX_FOLDED_ROWS = 1_000  # further class rows, collapsed


@dataclass(frozen=True)
class ClassRow:
    """Numbers of images and results of one class."""

    name: str
    counts: tuple[str, ...]
    n_evaluated: str
    recall: str
    interval: str
    bar: Markup
    precision: str
    top_confusion: str


@dataclass(frozen=True)
class ClassTable:
    """Results per class.

    Attributes:
        splits: Names of the splits whose images are counted.
        rows: Visible rows.
        folded_rows: Further rows, collapsed.
        n_hidden: Number of classes that are not shown.
        has_evaluated_column: Whether the evaluated images are not exactly one of the splits.
    """

    splits: tuple[str, ...]
    rows: list[ClassRow]
    folded_rows: list[ClassRow]
    n_hidden: int
    has_evaluated_column: bool

    @property
    def is_hardest_first(self) -> bool:
        """Whether the rows are sorted by recall, because there are many."""
        return bool(self.folded_rows)


def build_class_table(report: ReportData, metrics: EvaluationMetrics) -> ClassTable:
    """Return one row per class; if there are many, the lowest recall first."""
    scores = metrics.per_class
    if len(scores) > MAX_CLASS_ROWS:
        scores = sorted(scores, key=lambda c: (c.n == 0, c.recall.value if c.n else 0.0, -c.n))
    rows = [_build_class_row(report, c) for c in scores[: MAX_CLASS_ROWS + MAX_FOLDED_ROWS]]
    has_evaluated_column = not _is_one_split(report, metrics)
    return ClassTable(
        tuple(report.class_counts),
        rows[:MAX_CLASS_ROWS],
        rows[MAX_CLASS_ROWS:],
        len(scores) - len(rows),
        has_evaluated_column,
    )


def _is_one_split(report: ReportData, metrics: EvaluationMetrics) -> bool:
    """Whether the evaluated images are exactly one of the splits."""
    n = [c.n for c in metrics.per_class]
    return any(list(map(int, counts)) == n for counts in report.class_counts.values())


def _build_class_row(report: ReportData, c: ClassScore) -> ClassRow:
    pair = c.top_confusion
    return ClassRow(
        abbreviate(report.classes[c.index]),
        tuple(f"{int(counts[c.index]):,}" for counts in report.class_counts.values()),
        f"{c.n:,}",
        format_percent_value(c.recall.value),
        format_interval(c.recall) if c.n else "",
        draw_interval_bar(c.recall) if c.n else Markup(""),
        "–" if c.precision is None else format_percent_value(c.precision),
        f"{abbreviate(report.classes[pair.predicted_class])}\N{NO-BREAK SPACE}({pair.count:,})"
        if pair
        else "",
    )


@dataclass(frozen=True)
class SizeRow:
    """Prediction sets of one size: count, proportion and coverage."""

    size: str
    count: str
    proportion: str
    bar: Markup
    coverage: str


def build_size_rows(metrics: EvaluationMetrics) -> list[SizeRow]:
    """Return the conformal sets by size."""
    return [
        SizeRow(
            _format_size(s),
            f"{s.n:,}",
            format_percent_value(s.n / len(metrics)),
            draw_proportion_bar(s.n / len(metrics)),
            _format_coverage(s),
        )
        for s in metrics.count_set_sizes()
    ]


def _format_size(s: SetSizeRange) -> str:
    if s.high == 0:
        return "empty"
    if s.low == s.high:
        return "1 class" if s.low == 1 else f"{s.low} classes"
    return f"{s.low} to {s.high} classes"


def _format_coverage(s: SetSizeRange) -> str:
    return "–" if s.high == 0 else format_percent_value(s.n_covered / s.n)
