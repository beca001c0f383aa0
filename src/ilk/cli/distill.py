"""`ilk distill`: saved classifiers teach a small network."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from ilk.cli.finite_range import FiniteRange
from ilk.cli.intake_options import IntakeOptions
from ilk.cli.options import add_force_option, add_network_options, add_seed_option
from ilk.cli.output import Result, add_json_option, print_note, print_table, show_intake
from ilk.cli.source_options import add_intake_options, add_single_label_option
from ilk.core.terminal_text import escape_line

NATURAL = click.IntRange(min=0)
AUGMENT = ("auto", "none")


@click.command()
@click.argument("teacher")
@click.argument("source")
@click.option("--out", required=True, help="Folder for the student, a model folder.")
@click.option(
    "--teacher",
    "more_teachers",
    metavar="KINDS",
    multiple=True,
    help="Another classifier that teaches; may be repeated. The mean of all probabilities teaches, "
    "or with --loss SimilarSources each teacher by how near its features are to the classes.",
)
@click.option(
    "--student",
    default="cnn-100k",
    show_default=True,
    help="Architecture of the student, named by its number of parameters: cnn-15k, cnn-100k, "
    "cnn-1m, cnn-5m, mamba-15k, mamba-100k, or the pretrained efficientnet-lite0.",
)
@click.option(
    "--loss",
    default="KD",
    show_default=True,
    help="Distillation loss: KD, such as 'KD(temperature=4)', DualHead, MEAL, Progressive or, for "
    "several teachers, SimilarSources.",
)
@click.option(
    "--image-size",
    type=NATURAL,
    default=0,
    help="Height and width of the student's images in pixels [default: that of the images, up to "
    "96].",
)
@click.option(
    "--updates",
    type=NATURAL,
    default=0,
    help="Maximum number of optimizer updates [default: 30 epochs, but between 1,000 and 30,000].",
)
@click.option(
    "--hold-out",
    type=FiniteRange(0, 0.5),
    default=0.2,
    show_default=True,
    help="Fraction of the labelled images that is not trained on: half of them stop the training "
    "early, the other half calibrate the student's probabilities.",
)
@click.option(
    "--augment",
    type=click.Choice(AUGMENT),
    default="auto",
    show_default=True,
    help="Data augmentation: none, or auto, which shifts images at random, and also flips, rotates "
    "and scales them if TEACHER still recognizes them (only flips them if there are at least 2 "
    "images per parameter of the student).",
)
@click.option(
    "--compare-labels",
    is_flag=True,
    help="Also train the same student on the labels alone, to see how much TEACHER helps.",
)
@add_force_option
@add_seed_option
@add_single_label_option
@add_intake_options
@add_network_options
@add_json_option
def command(
    teacher: str,
    source: str,
    out: str,
    more_teachers: tuple[str, ...],
    student: str,
    loss: str,
    image_size: int,
    updates: int,
    hold_out: float,
    augment: str,
    compare_labels: bool,
    force: bool,
    seed: int,
    intake: IntakeOptions,
    device: str,
    runtime: str,
) -> Result:
    """Train a small network, the student, to predict like the classifier in the folder TEACHER.

    It learns from the images of SOURCE, labelled or not, and from TEACHER's probabilities for them,
    which are computed once (knowledge distillation). The result is a model folder that contains the
    network itself, for `ilk predict`, `evaluate`, `serve`, `export` and the other commands;
    calibration, prediction sets and the detection of unknown images are fitted on images that the
    student was not trained on. Teacher and student are evaluated on the test split of SOURCE or,
    if there is none, on held-out images.

    Several teachers must know the same classes; with --loss SimilarSources, those of --teacher may
    have classes of their own.

    If interrupted, the same command resumes.
    """
    from ilk.artifacts.output_files import check_outside_sources
    from ilk.cli.output_folder import hold_output_folder
    from ilk.core.progress import terminal_progress
    from ilk.distillation.comparison import HEADERS
    from ilk.distillation.config import DistillConfig
    from ilk.distillation.distill import delete_states, distill
    from ilk.distillation.losses import parse_loss
    from ilk.distillation.teacher import load_teacher
    from ilk.store import Store

    config = DistillConfig(
        student,
        loss,
        image_size,
        updates,
        hold_out=hold_out,
        augment=augment,
        compare_labels=compare_labels,
        seed=seed,
    )
    parse_loss(loss)
    names = (teacher, *more_teachers)
    _check_folders(out, names)
    folder = check_outside_sources(Path(out), source)
    models = [load_teacher(name, device=device, runtime=runtime) for name in names]
    hold_output_folder(folder)
    store = Store()
    images = intake.read_images(source, store, ranges=models[0].value_ranges)
    result = distill(
        models,
        images,
        folder,
        config,
        store=store,
        device=device,
        runtime=runtime,
        force=force,
        progress=terminal_progress(),
        log=click.echo,
    )
    if result.images.refused:
        show_intake(result.images)
    result.classifier.save(folder)
    delete_states(folder)
    print_table(HEADERS, [row.format_cells() for row in result.competitors])
    whom = "teacher" if len(names) == 1 else "teachers together"
    click.echo(
        f"evaluated on {result.parts.judged_name} ({len(result.parts.judged):,} images), with 95 % "
        f"intervals; agreement: same prediction as the {whom}; time: without decoding"
    )
    for note in result.notes:
        print_note(note)
    click.echo(f"student  {folder}")
    click.echo(f"next     {escape_line(shlex.join(('ilk', 'predict', str(folder), source)))}")
    return Result({"model": folder, **result.to_json()})


def _check_folders(out: str, teachers: tuple[str, ...]) -> None:
    """Raise InputError if the student would replace a teacher, or a teacher is named twice."""
    from ilk.cli.output_folder import is_same_folder
    from ilk.core.errors import InputError

    for i, teacher in enumerate(teachers):
        if is_same_folder(out, Path(teacher)):
            raise InputError(
                f"the student would replace its teacher in {teacher}; choose another folder with "
                "--out"
            )
        if any(is_same_folder(other, Path(teacher)) for other in teachers[:i]):
            raise InputError(f"the teacher in {teacher} is named twice; name each once")
