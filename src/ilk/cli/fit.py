"""`ilk fit`: train a classifier on labelled images."""

from __future__ import annotations

import shlex
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ilk.cli.csv_safe import add_csv_safe_option
from ilk.cli.finite_range import FiniteRange
from ilk.cli.intake_options import IntakeOptions
from ilk.cli.options import (
    add_encoders_option,
    add_folds_option,
    add_network_options,
    add_precision_option,
    add_resize_option,
    add_seed_option,
    add_views_option,
)
from ilk.cli.output import Result, add_json_option, print_note, show_intake
from ilk.cli.source_options import add_intake_options, add_multi_label_options

if TYPE_CHECKING:
    from ilk.report.report_data import ReportData


@click.command()
@click.argument("source")
@click.option("--out", required=True, help="Folder for the model, its leaderboard and its report.")
@add_encoders_option
@click.option(
    "--classifier",
    "classifiers",
    multiple=True,
    help="Diffusion classifier to compare: diffusion:PATH or diffusion:hf-hub:ORG/NAME; may be "
    "repeated.",
)
@click.option(
    "--method",
    "methods",
    multiple=True,
    help="Method to compare, such as 'GDA(shrink=0.2)'; may be repeated [default: all suitable].",
)
@add_resize_option
@add_views_option
@add_folds_option
@click.option(
    "--criterion",
    default="accuracy",
    show_default=True,
    help="What selects the winner: accuracy, macro_accuracy, log_loss or, with --ordered, "
    "mean_absolute_error.",
)
@click.option(
    "--ordered",
    is_flag=True,
    help="The classes are numbers or ranges, such as 1 to 5 stars: the size of an error counts.",
)
@click.option("--single", is_flag=True, help="Use the best single candidate; do not try ensembles.")
@click.option(
    "--coverage",
    default=0.9,
    show_default=True,
    help="Fraction of images whose prediction sets must contain the true class.",
)
@click.option(
    "--false-alarm",
    default=0.05,
    show_default=True,
    help="Fraction of images of known classes that may be flagged as unknown.",
)
@click.option(
    "--class",
    "--classes",
    "classes",
    multiple=True,
    help="Class names for a first guess without labels, such as cat,dog; may be repeated.",
)
@click.option(
    "--prompt",
    "prompts",
    multiple=True,
    help="Prompt for text encoders, with {} for the class name; may be repeated "
    "[default: a photo of a {}.].",
)
@click.option(
    "--descriptions",
    help="Text file with one sentence per line that describes appearance without naming a class; "
    "the discriminative ones are selected.",
)
@click.option(
    "--class-structure",
    default="",
    help="File that says which classes are similar, so that a class without images is predicted "
    "if the classes around it are likely: a tree (Newick, nested JSON, or a CSV of class and "
    "parent), a CSV of class and angle in degrees, a CSV of class and coordinates, or a square CSV "
    "of distances. Names must be spelled like the classes. The default method is then Loki.",
)
@click.option(
    "--thumbnails/--no-thumbnails",
    default=True,
    show_default=True,
    help="Keep small pictures of some training images in the model folder, for ilk explain, which "
    "shows the nearest ones.",
)
@click.option(
    "--explain",
    type=click.IntRange(0, 60),
    default=0,
    show_default=True,
    help="Number of evaluated images whose heat maps the report shows; each takes a few seconds.",
)
@click.option(
    "--memory",
    type=FiniteRange(min=0),
    default=0.0,
    help="Gigabytes for the features of a shard folder; if they need more, they are read block by "
    "block [default: half of what is available].",
)
@add_seed_option
@add_precision_option
@add_multi_label_options
@add_csv_safe_option
@add_intake_options
@add_network_options
@add_json_option
def command(
    source: str,
    out: str,
    encoders: tuple[str, ...],
    classifiers: tuple[str, ...],
    methods: tuple[str, ...],
    resize: str,
    views: str,
    folds: int,
    criterion: str,
    single: bool,
    ordered: bool,
    coverage: float,
    false_alarm: float,
    classes: tuple[str, ...],
    prompts: tuple[str, ...],
    descriptions: str | None,
    class_structure: str,
    thumbnails: bool,
    explain: int,
    memory: float,
    seed: int,
    precision: str,
    intake: IntakeOptions,
    device: str,
    runtime: str,
) -> Result:
    """Train a classifier on the images of SOURCE and write a model folder.

    SOURCE is a folder with a sub-folder per class (optionally inside train/, val/ and test/), a
    CSV, TSV, Parquet or JSONL table, a folder with metadata.csv, a list of paths, or a shard folder
    that `ilk encode` wrote, whose features are read instead of the images.
    """
    from ilk.artifacts.model_folder import CLASSIFIER, MULTI_LABEL, read_digest
    from ilk.artifacts.output_files import check_outside, check_outside_sources
    from ilk.cli.multi_label import fit_multi_label
    from ilk.cli.output_folder import hold_output_folder
    from ilk.cli.sentences import read_sentences
    from ilk.cli.shard_source import open_shard_source
    from ilk.cli.tables import show_leaderboard
    from ilk.core.progress import terminal_progress
    from ilk.fitting.fit import DEFAULT_PROMPTS, FitConfig, fit_with_report
    from ilk.fitting.multi_label import fit_multi_label_with_report
    from ilk.fitting.out_of_core.fit import fit_shard_labels, fit_shards_with_report, is_shards
    from ilk.fitting.settings import take_duplicates
    from ilk.fitting.side_files import render_side_files
    from ilk.images import describe_groups
    from ilk.store import Store

    reading = take_duplicates(
        {"group_from": intake.group_from, "group_column": intake.group_column}
    )
    intake = replace(intake, group_from=reading.get("group_from"))
    config = FitConfig(
        group_duplicates=bool(reading.get("group_duplicates")),
        encoders=encoders,
        classifiers=classifiers,
        methods=methods,
        folds=folds,
        seed=seed,
        coverage=coverage,
        false_alarm=false_alarm,
        criterion=criterion,
        single=single,
        classes=tuple(name.strip() for text in classes for name in text.split(",")),
        prompts=prompts or DEFAULT_PROMPTS,
        descriptions=read_sentences(descriptions) if descriptions else (),
        class_structure=class_structure,
        device=device,
        runtime=runtime,
        precision=precision,
        multi_label=bool(intake.multi_label or intake.label_separator),
        ordered=ordered,
        resize=resize,
        views=views,
        thumbnails=thumbnails,
        explain=explain,
        memory=memory,
    )
    kind = MULTI_LABEL if config.multi_label else CLASSIFIER
    home = hold_output_folder(check_outside_sources(Path(out), source), kind)
    if read_digest(home):
        print_note(
            f"{home} contains a classifier, which the new one will replace once it is fitted"
        )
    fit: Any
    if is_shards(source):
        opened = open_shard_source(source, config, intake)
        images = opened.images
        check_outside(home, images.folders)
        if images.is_multi_label or config.multi_label:
            fit_labels = partial(fit_shard_labels, opened)
            return fit_multi_label(images, config, fit_labels, home, source)
        fit = partial(fit_shards_with_report, opened)
    else:
        store = Store()
        images = intake.read_images(source, store)
        if config.multi_label:
            fit_labels = partial(fit_multi_label_with_report, images, store=store)
            return fit_multi_label(images, config, fit_labels, home, source)
        fit = partial(fit_with_report, images, store=store)
    classifier, report_data = fit(
        config=config, progress=terminal_progress(), log=lambda line: click.echo(line)
    )
    command_line = shlex.join(("ilk", *(click.get_current_context().obj or ())))
    report_data = replace(report_data, command=command_line, source=source)
    replace(classifier, side_files=partial(render_side_files, report_data)).save(home)
    if report_data.images.refused:
        show_intake(report_data.images)
    is_held = report_data.held_together is not None
    show_leaderboard(report_data.results, None if is_held else report_data.corrected_accuracy)
    printed = {*images.notes, *describe_groups(images.used)}
    for note in report_data.notes:
        if note not in printed:
            print_note(note)
    _show_accuracy(report_data)
    click.echo(f"model  {home}\nreport {home / 'report.html'}")
    return Result(_to_json(report_data, home))


def _show_accuracy(report_data: ReportData) -> None:
    """Print the accuracy where it is not that of the leaderboard."""
    is_held = report_data.held_together is not None
    has_test = len(report_data.class_counts) > 1
    if report_data.scores is not None and (has_test or is_held):
        click.echo(f"accuracy on {report_data.evaluated_on}: {report_data.scores.accuracy}")


def _to_json(report_data: ReportData, home: Path) -> dict[str, Any]:
    return {
        "model": home,
        "report": home / "report.html",
        "leaderboard": report_data.results,
        "notes": report_data.notes,
        "intake": report_data.images.count_rows(),
    }
