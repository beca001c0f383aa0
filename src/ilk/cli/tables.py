"""The leaderboard and the scores as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from ilk.cli.options import table

if TYPE_CHECKING:
    from ilk.judged import Judged

HEAD = ("encoder", "method", "accuracy, 95 % interval", "macro", "log loss", "ECE", "seconds")


def board_rows(results: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Results as in `leaderboard.json`, best first; `=` is not told apart from the winner `*`."""
    rows = []
    for i, r in enumerate(results):
        s, seconds = r["scores"], f"{r['seconds']:.1f}"
        mark = " " if s is None else "*" if i == 0 else "=" if r["tied"] else " "
        told: tuple[str, ...] = (r["note"] or "–", "", "", "")
        if s is not None:
            accuracy = s["accuracy"]
            told = (
                f"{accuracy['value']:.3f} [{accuracy['low']:.3f}, {accuracy['high']:.3f}]",
                f"{s['macro_accuracy']:.3f}",
                f"{s['log_loss']:.3f}",
                f"{s['calibration_error']:.3f}",
            )
        rows.append((r["encoder"], f"{mark} {r['method']}", *told, seconds))
    return rows


def show_leaderboard(results: Sequence[Mapping[str, Any]]) -> None:
    """Encoders × methods as a table, with what its marks mean."""
    table(HEAD, board_rows(results))
    click.echo("* winner   = not told apart from it on these images")


def show_evaluation(e: Judged) -> None:
    """Scores of labelled images, as two columns."""
    s = e.scores
    table(
        ("figure", "value"),
        [
            ("images", f"{s.n:,}"),
            ("accuracy", f"{s.accuracy}"),
            ("macro accuracy", f"{s.macro_accuracy:.3f}"),
            ("log loss", f"{s.log_loss:.3f}"),
            ("calibration error", f"{s.calibration_error:.3f}"),
            (f"coverage of {e.level:.0%} sets", f"{e.coverage}"),
            ("mean set size", f"{e.set_size:.2f}"),
            ("called unknown", f"{e.unknown}"),
        ],
    )
