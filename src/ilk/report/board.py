"""The leaderboard: as rows of the report, and as plain values for `leaderboard.json`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import floor
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from ilk.report.charts import interval_bar
from ilk.report.evidence import Evidence
from ilk.report.words import bare, between, plain, seconds

if TYPE_CHECKING:
    from ilk.evaluate import Result

TRIED = 60  # rows shown


@dataclass(frozen=True)
class TriedRow:
    """One line of the leaderboard; without figures where it could not be run."""

    encoder: str
    method: str
    mark: str
    figures: tuple[str, ...]
    interval: str
    bar: Markup
    note: str


@dataclass(frozen=True)
class Board:
    """The leaderboard, the ends of its bars, and how many rows are left out."""

    rows: list[TriedRow]
    low: str
    high: str
    left_out: int


def board(e: Evidence) -> Board:
    """The leaderboard in the order given; the winner's row is never left out."""
    rows = list(e.results)
    chosen = [r for r in rows[TRIED:] if _is_winner(e, r)]
    shown = rows[: TRIED - len(chosen)] + chosen
    lows = [r.scores.accuracy.low for r in shown if r.scores is not None]
    low = floor(20 * min(lows, default=0.0)) / 20
    made = [_tried(e, r, low) for r in shown]
    return Board(made, f"{100 * low:.0f}", "100", len(rows) - len(shown))


def _is_winner(e: Evidence, r: Result) -> bool:
    return (r.encoder, r.method) == (e.encoder, e.method)


def _tried(e: Evidence, r: Result, low: float) -> TriedRow:
    mark = "chosen" if _is_winner(e, r) else "as good" if r.tied and r.scores is not None else ""
    if (s := r.scores) is None:
        return TriedRow(plain(r.encoder), plain(r.method), mark, (), "", Markup(""), plain(r.note))
    figures = (
        bare(s.accuracy.value),
        bare(s.macro_accuracy),
        f"{s.log_loss:.3f}",
        bare(s.calibration_error),
        seconds(r.seconds),
    )
    interval, bar = between(s.accuracy), interval_bar(s.accuracy, low, 1.0)
    return TriedRow(plain(r.encoder), plain(r.method), mark, figures, interval, bar, plain(r.note))


def leaderboard_json(e: Evidence) -> dict[str, Any]:
    """The leaderboard as plain values, best first, with what is needed to repeat it."""
    return {
        "winner": {"encoder": plain(e.encoder), "method": plain(e.method)},
        "honest_accuracy": asdict(e.honest) if e.honest is not None else None,
        "folds": plain(e.folds_note),
        "seed": e.seed,
        "version": plain(e.version),
        "date": plain(e.date),
        "command": plain(e.command),
        "rows": [
            {
                "encoder": plain(r.encoder),
                "method": plain(r.method),
                "scores": asdict(r.scores) if r.scores is not None else None,
                "seconds": r.seconds,
                "note": plain(r.note),
                "tied": bool(r.tied),
            }
            for r in e.results
        ],
    }
