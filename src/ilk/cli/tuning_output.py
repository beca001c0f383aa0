"""What tuning with an objective prints: the network before and after it, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from ilk.cli.output import print_note, print_table

if TYPE_CHECKING:
    from ilk.diffusion.tuning.report import TuningReport

OBJECTIVE_OPTIONS = ("updates", "batch_size", "lr", "anchor", "flip", "max_shift", "max_levels")


def check_objective_options(objective: str, noise_shots: int) -> None:
    """Check that no option is given that does nothing, and that the objective exists.

    Raises:
        InputError: An option of tuning with an objective is given without one, or --noise-calls
            without --noise-shots.
        UnknownName: There is no such objective.
    """
    from ilk.core.errors import InputError
    from ilk.diffusion.tuning.objectives import get_tuning_objective

    context = click.get_current_context()
    calls = context.get_parameter_source("noise_calls")
    if not noise_shots and calls is ParameterSource.COMMANDLINE:
        raise InputError(
            "--noise-calls belongs to the choice of a noise; add --noise-shots 8, or leave "
            "--noise-calls out"
        )
    if objective:
        get_tuning_objective(objective)
        return
    for name in OBJECTIVE_OPTIONS:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = "--" + name.replace("_", "-")
            raise InputError(
                f"{option} belongs to tuning with an objective; add --objective cross-entropy, or "
                f"leave {option} out"
            )


def describe_levels(n_images: int, n_unseen: int, model: str) -> str:
    """Return whether noise levels were learned, or earlier ones from more images kept.

    Args:
        n_images: Number of images behind the levels that are saved.
        n_unseen: Number of images that were given and that the model was not trained on.
        model: The model, as the user named it.
    """
    if n_images > n_unseen:
        return (
            f"{model} keeps its noise levels, which were learned from {n_images:,} images; the "
            f"{n_unseen:,} new ones are fewer"
        )
    return f"noise levels learned from {n_images:,} images and saved in {model}"


def check_pretrain_objective(objective: str, ignore_labels: bool) -> None:
    """Check that a model can be tuned with `objective` after pretraining, before it begins.

    Raises:
        InputError: There are no labels, or several processes.
        UnknownName: There is no such objective.
    """
    import os

    from ilk.core.errors import InputError
    from ilk.diffusion.tuning.objectives import get_tuning_objective

    if not objective:
        return
    get_tuning_objective(objective)
    if ignore_labels:
        raise InputError("--objective needs labels; leave out --ignore-labels, or --objective")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError(
            "--objective tunes in one process; pretrain without it, then run `ilk tune MODEL "
            "SOURCE --objective`"
        )


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
    drawings = [a.drawing for a in assessments if a.drawing is not None]
    if len(drawings) == len(assessments):
        rows += [
            ("Fréchet distance of images drawn", *(f"{d.frechet_distance:.3g}" for d in drawings)),
            (
                "their precision, recall",
                *(f"{d.precision:.2f}, {d.recall:.2f}" for d in drawings),
            ),
        ]
    print_table((report.objective, *heads), rows)
    click.echo(
        f"tuned on {report.images:,} labelled images, assessed on {report.held_out:,} by networks "
        f"that were not tuned on them; the tuned network in {model}/tuned classifies with at most "
        f"{report.max_levels} levels, the untuned one draws"
    )
    if loss := describe_loss(report, model):
        print_note(loss)


def describe_loss(report: TuningReport, model: str) -> str:
    """Return how much accuracy tuning cost, and what to do; "" where it cost none."""
    if report.before is None:
        return ""
    before = max(r.accuracy for r in report.before.results)
    after = max(r.accuracy for r in report.after.results if r.levels <= report.max_levels)
    if after >= before:
        return ""
    return (
        f"the tuned network is less accurate than before ({after:.3f} against {before:.3f}): tune "
        f"longer with --updates, or delete {model}/tuned to classify with the untuned network"
    )
