"""What tuning with an objective prints: the network before and after it, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ilk.cli.output import print_table

if TYPE_CHECKING:
    from ilk.diffusion.tuning.report import TuningReport


def show_tuning(report: TuningReport, model: str) -> None:
    """Print accuracy, log loss, levels, drawing quality and time, before and after."""
    assessments = [a for a in (report.before, report.after) if a is not None]
    heads = ("before", "after") if report.before is not None else ("after",)
    rows: list[tuple[str, ...]] = []
    for i, result in enumerate(report.after.results):
        word = "level" if result.levels == 1 else "levels"
        cells = (a.results[i] for a in assessments)
        rows.append(
            (
                f"accuracy, log loss with {result.levels} {word}",
                *(f"{r.accuracy:.3f}, {r.log_loss:.3f}" for r in cells),
            )
        )
    rows += [
        ("levels needed", *(str(a.levels_needed) for a in assessments)),
        ("seconds per image with them", *(f"{a.seconds_per_image:.2g}" for a in assessments)),
    ]
    if report.after.frechet_distance is not None:
        distances = (a.frechet_distance for a in assessments)
        rows.append(("Fréchet distance of images drawn", *(f"{d:.3g}" for d in distances)))
    print_table((report.objective, *heads), rows)
    click.echo(
        f"tuned on {report.images:,} labelled images, assessed on {report.held_out:,} others; "
        f"the tuned network in {model}/tuned classifies with at most {report.max_levels} levels, "
        "the untuned one draws"
    )
