"""The leaderboard and evaluation scores as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ilk.cli.output import print_table

if TYPE_CHECKING:
    from ilk.artifacts.evaluation import Evaluation
    from ilk.core.leaderboard import CandidateResult
    from ilk.core.metrics import Interval

LEGEND = (
    "* winner   = may be as good: not significantly worse (5 % level for all candidates together)"
)
COLUMN_LEGEND = "macro: mean of the accuracies of the classes   ECE: expected calibration error"
HEADER = ("encoder", "method", "accuracy, 95 % interval", "macro", "log loss", "ECE", "seconds")


def format_rows(results: Sequence[CandidateResult]) -> list[tuple[str, ...]]:
    """Format leaderboard rows, best first; the winner is marked `*` and ties with it `=`."""
    rows = []
    for i, result in enumerate(results):
        scores = result.scores
        mark = " " if scores is None else "*" if i == 0 else "=" if result.is_tied else " "
        cells: tuple[str, ...] = (result.note or "–", "", "", "")
        if scores is not None:
            accuracy = scores.accuracy
            cells = (
                f"{accuracy.value:.3f} [{accuracy.low:.3f}, {accuracy.high:.3f}]",
                f"{scores.macro_accuracy:.3f}",
                f"{scores.log_loss:.3f}",
                f"{scores.calibration_error:.3f}",
            )
        if is_ordered(results):
            error = None if scores is None else scores.mean_absolute_error
            cells = (cells[0], "" if error is None else f"{error:.3f}", *cells[1:])
        rows.append((result.encoder, f"{mark} {result.method}", *cells, f"{result.seconds:.1f}"))
    return rows


def is_ordered(results: Sequence[CandidateResult]) -> bool:
    """Return whether the classes are ordered, so that results have a mean absolute error."""
    return any(r.scores and r.scores.mean_absolute_error is not None for r in results)


def show_leaderboard(results: Sequence[CandidateResult], corrected: Interval | None = None) -> None:
    """Print the leaderboard of encoders and methods, with a legend.

    Args:
        results: Results, best first.
        corrected: Accuracy of the winner, corrected for the selection; printed where there was a
            choice.
    """
    head = (*HEADER[:3], "MAE", *HEADER[3:]) if is_ordered(results) else HEADER
    print_table(head, format_rows(results))
    click.echo(LEGEND)
    click.echo(COLUMN_LEGEND)
    n_scored = sum(r.scores is not None for r in results)
    if corrected is not None and n_scored > 1:
        click.echo(
            f"accuracy of the winner, corrected for the choice among {n_scored} candidates: "
            f"{corrected}"
        )


def show_evaluation(evaluation: Evaluation) -> None:
    """Print the scores of a classifier on labelled images."""
    scores = evaluation.scores
    print_table(
        ("metric", "value"),
        [
            ("images", f"{scores.n:,}"),
            ("accuracy", f"{scores.accuracy}"),
            *(
                []
                if scores.mean_absolute_error is None
                else [("mean absolute error of the median", f"{scores.mean_absolute_error:.3f}")]
            ),
            ("macro accuracy", f"{scores.macro_accuracy:.3f}"),
            ("log loss", f"{scores.log_loss:.3f}"),
            ("calibration error", f"{scores.calibration_error:.3f}"),
            (
                f"coverage of {100 * evaluation.target_coverage:.3g} % prediction sets",
                f"{evaluation.coverage}",
            ),
            ("mean set size", f"{evaluation.mean_set_size:.2f}"),
            ("flagged as unknown", f"{evaluation.unknown_rate}"),
        ],
    )
