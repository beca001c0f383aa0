"""Convert the leaderboard to table rows and to JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import floor
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from ilk.images.duplicates.near_pairs import near_pairs_to_json
from ilk.report.charts import draw_interval_bar
from ilk.report.formatting import escape_text, format_interval, format_percent_value, format_seconds
from ilk.report.report_data import ReportData

if TYPE_CHECKING:
    from ilk.core.leaderboard import CandidateResult

MAX_ROWS = 60


@dataclass(frozen=True)
class LeaderboardRow:
    """A row of the leaderboard; `metrics` is empty if the candidate could not be evaluated."""

    encoder: str
    method: str
    mark: str
    metrics: tuple[str, ...]
    interval: str
    bar: Markup
    note: str


@dataclass(frozen=True)
class LeaderboardTable:
    """Rows, limits of the bars in percent, number of hidden rows, whether classes are ordered."""

    rows: list[LeaderboardRow]
    low: str
    high: str
    n_hidden: int
    is_ordered: bool


def build_leaderboard(report: ReportData) -> LeaderboardTable:
    """Return the rows in the given order; the selected candidate is always included."""
    rows = list(report.results)
    hidden_winner = [r for r in rows[MAX_ROWS:] if _is_winner(report, r)]
    shown = rows[: MAX_ROWS - len(hidden_winner)] + hidden_winner
    lows = [r.scores.accuracy.low for r in shown if r.scores is not None]
    low = floor(20 * min(lows, default=0.0)) / 20
    is_ordered = any(r.scores and r.scores.mean_absolute_error is not None for r in shown)
    table_rows = [_build_row(report, r, low) for r in shown]
    return LeaderboardTable(
        table_rows, f"{100 * low:.0f}", "100", len(rows) - len(shown), is_ordered
    )


def _is_winner(report: ReportData, r: CandidateResult) -> bool:
    return (r.encoder, r.method) == (report.encoder, report.method)


def _build_row(report: ReportData, r: CandidateResult, low: float) -> LeaderboardRow:
    mark = "tied" if r.is_tied and r.scores is not None else ""
    if _is_winner(report, r):
        mark = "selected"
    if (s := r.scores) is None:
        return LeaderboardRow(
            escape_text(r.encoder),
            escape_text(r.method),
            mark,
            (),
            "",
            Markup(""),
            escape_text(r.note),
        )
    metrics = (
        format_percent_value(s.accuracy.value),
        *([] if s.mean_absolute_error is None else [f"{s.mean_absolute_error:.3f}"]),
        format_percent_value(s.macro_accuracy),
        f"{s.log_loss:.3f}",
        format_percent_value(s.calibration_error),
        format_seconds(r.seconds),
    )
    interval, bar = format_interval(s.accuracy), draw_interval_bar(s.accuracy, low, 1.0)
    return LeaderboardRow(
        escape_text(r.encoder),
        escape_text(r.method),
        mark,
        metrics,
        interval,
        bar,
        escape_text(r.note),
    )


def leaderboard_to_json(report: ReportData) -> dict[str, Any]:
    """Return the leaderboard, best first, as values that JSON can represent."""
    return {
        "winner": {"encoder": escape_text(report.encoder), "method": escape_text(report.method)},
        "corrected_accuracy": None
        if report.corrected_accuracy is None
        else asdict(report.corrected_accuracy),
        "held_together": None if report.held_together is None else report.held_together.to_json(),
        "duplicate_leaks": None
        if report.duplicate_leaks is None
        else report.duplicate_leaks.to_json(),
        "near_duplicates": near_pairs_to_json(report.near_pairs),
        "folds": escape_text(report.folds_note),
        "seed": report.seed,
        "version": escape_text(report.version),
        "date": escape_text(report.date),
        "command": escape_text(report.command),
        **({} if report.samples is None else {"samples": dict(report.samples)}),
        "rows": [
            {
                "encoder": escape_text(r.encoder),
                "method": escape_text(r.method),
                "scores": asdict(r.scores) if r.scores is not None else None,
                "seconds": r.seconds,
                "note": escape_text(r.note),
                "tied": bool(r.is_tied),
            }
            for r in report.results
        ],
    }
