"""Tables of the multi-label report: leaderboard, labels, and the leaderboard as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import floor
from typing import Any

from markupsafe import Markup

from ilk.multilabel.leaderboard import LabelCandidate
from ilk.report.charts import draw_interval_bar, draw_proportion_bar
from ilk.report.formatting import (
    abbreviate,
    escape_text,
    format_interval,
    format_percent_value,
    format_seconds,
)
from ilk.report.leaderboard import MAX_ROWS, LeaderboardRow
from ilk.report.multi_label_data import MultiLabelReport

HIGHEST_START = 0.95  # of the scale of the bars, which has a length where all is perfect


@dataclass(frozen=True)
class CandidateTable:
    """Rows of the leaderboard, limits of the bars in percent, and number of hidden rows."""

    rows: list[LeaderboardRow]
    low: str
    high: str
    n_hidden: int


def build_candidate_table(report: MultiLabelReport) -> CandidateTable:
    """Return the candidates, best first."""
    shown = list(report.results[:MAX_ROWS])
    lows = [r.scores.mean_average_precision.low for r in shown if r.scores is not None]
    low = min(floor(20 * min(lows, default=0.0)) / 20, HIGHEST_START)
    rows = [_build_candidate_row(r, i == 0, low) for i, r in enumerate(shown)]
    return CandidateTable(rows, f"{100 * low:.0f}", "100", len(report.results) - len(shown))


def _build_candidate_row(r: LabelCandidate, is_winner: bool, low: float) -> LeaderboardRow:
    mark = "selected" if is_winner else "tied" if r.is_tied and r.scores else ""
    encoder, method, note = escape_text(r.encoder), escape_text(r.method), escape_text(r.note)
    if (s := r.scores) is None:
        return LeaderboardRow(encoder, method, mark, (), "", Markup(""), note)
    metrics = (
        format_percent_value(s.mean_average_precision.value),
        format_percent_value(s.macro_f1),
        format_percent_value(s.micro_f1),
        f"{s.log_loss:.3f}",
        format_percent_value(s.calibration_error),
        format_seconds(r.seconds),
    )
    interval = s.mean_average_precision
    bar = draw_interval_bar(interval, low, 1.0)
    return LeaderboardRow(encoder, method, mark, metrics, format_interval(interval), bar, note)


@dataclass(frozen=True)
class LabelRow:
    """Number of images and results of one label; percentages without the sign."""

    name: str
    counts: tuple[str, ...]
    support: str
    average_precision: str
    bar: Markup
    threshold: str
    precision: str
    recall: str
    f1: str


def build_label_rows(report: MultiLabelReport) -> list[LabelRow]:
    """Return one row per label, lowest average precision first."""
    rows = [
        (
            score.average_precision,
            LabelRow(
                abbreviate(score.name),
                tuple(f"{int(counts[c]):,}" for counts in report.label_counts.values()),
                f"{score.support:,}",
                format_percent_value(score.average_precision),
                draw_proportion_bar(score.average_precision) if score.support else Markup(""),
                f"{report.thresholds[c]:.2f}",
                format_percent_value(score.precision),
                format_percent_value(score.recall),
                format_percent_value(score.f1),
            ),
        )
        for c, score in enumerate(report.scores.labels)
    ]
    return [row for _, row in sorted(rows, key=lambda pair: (pair[0] != pair[0], pair[0]))]


def label_leaderboard_to_json(report: MultiLabelReport) -> dict[str, Any]:
    """Return the leaderboard, best first, as values that JSON can represent."""
    return {
        "winner": {"encoder": escape_text(report.encoder), "method": escape_text(report.method)},
        "corrected_mean_average_precision": asdict(report.corrected),
        "folds": report.n_folds,
        "seed": report.seed,
        "version": escape_text(report.version),
        "date": escape_text(report.date),
        "command": escape_text(report.command),
        "rows": [
            {
                "encoder": escape_text(r.encoder),
                "method": escape_text(r.method),
                "scores": None if r.scores is None else _scores_to_json(r),
                "seconds": r.seconds,
                "note": escape_text(r.note),
                "tied": bool(r.is_tied),
            }
            for r in report.results
        ],
    }


def _scores_to_json(r: LabelCandidate) -> dict[str, Any]:
    if r.scores is None:
        return {}
    scores = asdict(r.scores)
    scores["labels"] = {
        label.name: None
        if label.average_precision != label.average_precision
        else label.average_precision
        for label in r.scores.labels
    }
    return scores
