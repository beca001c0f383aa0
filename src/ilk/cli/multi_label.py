"""What `fit` and `evaluate` do with images that have several labels."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ilk.cli.output import Result, print_note, print_table, show_intake
from ilk.cli.tables import LEGEND

if TYPE_CHECKING:
    from ilk.artifacts.multi_label_evaluation import MultiLabelEvaluation
    from ilk.fitting.config import FitConfig
    from ilk.images import Images
    from ilk.multilabel.leaderboard import LabelCandidate

HEADER = ("encoder", "method", "mAP, 95 % interval", "F1", "micro F1", "log loss", "ECE", "seconds")
COLUMN_LEGEND = (
    "mAP: mean average precision   F1: mean over labels   micro F1: over all pairs of image and "
    "label   ECE: expected calibration error"
)
MAX_LABELS = 50  # in the printed table


def fit_multi_label(
    images: Images, config: FitConfig, fit: Callable[..., Any], home: Path, source: str
) -> Result:
    """Fit a multi-label classifier by `fit`, save it to `home` and print the leaderboard."""
    from ilk.core.progress import terminal_progress
    from ilk.fitting.multi_label_report import render_multi_label_side_files
    from ilk.images import describe_groups

    classifier, report = fit(
        config=config, progress=terminal_progress(), log=lambda line: click.echo(line)
    )
    command_line = shlex.join(("ilk", *(click.get_current_context().obj or ())))
    report = replace(report, command=command_line, source=source)
    replace(classifier, side_files=partial(render_multi_label_side_files, report)).save(home)
    if report.images.refused:
        show_intake(report.images)
    show_label_leaderboard(report.results)
    printed = {*images.notes, *describe_groups(images.used)}
    for note in report.notes:
        if note not in printed:
            print_note(note)
    click.echo(f"model  {home}\nreport {home / 'report.html'}")
    return Result(
        {
            "model": home,
            "report": home / "report.html",
            "leaderboard": report.results,
            "notes": report.notes,
            "intake": report.images.count_rows(),
        }
    )


def show_label_leaderboard(results: Sequence[LabelCandidate]) -> None:
    """Print the leaderboard of encoders and methods, with a legend."""
    rows = []
    for i, result in enumerate(results):
        scores = result.scores
        mark = " " if scores is None else "*" if i == 0 else "=" if result.is_tied else " "
        cells: tuple[str, ...] = (result.note or "–", "", "", "", "")
        if scores is not None:
            cells = (
                str(scores.mean_average_precision),
                f"{scores.macro_f1:.3f}",
                f"{scores.micro_f1:.3f}",
                f"{scores.log_loss:.3f}",
                f"{scores.calibration_error:.3f}",
            )
        rows.append((result.encoder, f"{mark} {result.method}", *cells, f"{result.seconds:.1f}"))
    print_table(HEADER, rows)
    click.echo(LEGEND)
    click.echo(COLUMN_LEGEND)


def show_label_evaluation(evaluation: MultiLabelEvaluation) -> None:
    """Print the scores of a multi-label classifier, in all and per label."""
    scores = evaluation.scores
    print_table(
        ("metric", "value"),
        [
            ("images", f"{scores.n:,}"),
            ("mean average precision", f"{scores.mean_average_precision}"),
            ("F1, mean over labels", f"{scores.macro_f1:.3f}"),
            ("F1, all pairs", f"{scores.micro_f1:.3f}"),
            ("all labels correct", f"{scores.exact_match}"),
            ("log loss", f"{scores.log_loss:.3f}"),
            ("calibration error", f"{scores.calibration_error:.3f}"),
            ("flagged as unknown", f"{evaluation.unknown_rate}"),
        ],
    )
    print_table(
        ("label", "images", "average precision", "precision", "recall", "F1"),
        [
            (label.name, f"{label.support:,}", *map(_format, numbers))
            for label in scores.labels[:MAX_LABELS]
            for numbers in [(label.average_precision, label.precision, label.recall, label.f1)]
        ],
    )
    if len(scores.labels) > MAX_LABELS:
        click.echo(f"… and {len(scores.labels) - MAX_LABELS} more labels; --json lists all")


def _format(value: float) -> str:
    return "–" if value != value else f"{value:.3f}"
