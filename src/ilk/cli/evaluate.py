"""`ilk evaluate`: score a model folder on labelled images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ilk.cli.intake_options import IntakeOptions
from ilk.cli.options import add_fetch_option, add_network_options
from ilk.cli.output import Result, add_json_option, print_note, show_intake
from ilk.cli.source_options import add_intake_options, add_label_separator_option

if TYPE_CHECKING:
    from ilk.images import Images


@click.command()
@click.argument("model")
@click.argument("source")
@click.option("--out", help="Write the scores to this JSON file.")
@click.option(
    "--split", help="Split to score: train, val or test [default: test if there is one, else all]."
)
@add_label_separator_option
@add_intake_options
@add_fetch_option
@add_network_options
@add_json_option
def command(
    model: str,
    source: str,
    out: str | None,
    split: str | None,
    intake: IntakeOptions,
    device: str,
    runtime: str,
    fetch: bool,
) -> Result:
    """Score the model folder MODEL on the labelled images of SOURCE."""
    from ilk.artifacts.evaluation import Evaluation, evaluate_images
    from ilk.artifacts.loading import load
    from ilk.artifacts.multi_label_classifier import MultiLabelClassifier
    from ilk.artifacts.multi_label_evaluation import (
        MultiLabelEvaluation,
        evaluate_multi_label_images,
    )
    from ilk.artifacts.output_files import check_output_file
    from ilk.cli.multi_label import show_label_evaluation
    from ilk.cli.tables import show_evaluation
    from ilk.core.atomic_write import write_atomically
    from ilk.core.plain_json import encode_json
    from ilk.core.progress import terminal_progress
    from ilk.fitting.leakage import count_trained_on
    from ilk.images import escape_path
    from ilk.store import Store
    from ilk.updates.side_files import count_known, read_trained_rows

    if out:
        check_output_file(Path(out), (".json",), [source])
    classifier, store = load(model, device=device, runtime=runtime, fetch=fetch), Store()
    intake = replace(intake, multi_label=isinstance(classifier, MultiLabelClassifier))
    read = intake.read_images(source, store, ranges=classifier.value_ranges)
    images, split_note = _select_split(read, source, split)
    progress = terminal_progress()
    evaluation: Evaluation | MultiLabelEvaluation
    if isinstance(classifier, MultiLabelClassifier):
        evaluation, images, notes = evaluate_multi_label_images(
            classifier, images, store=store, progress=progress
        )
    else:
        evaluation, images, notes = evaluate_images(
            classifier, images, store=store, progress=progress
        )
    notes += [note for note in images.notes if note not in read.notes]  # those are printed
    if images.refused:
        show_intake(images)
    trained, last_added = read_trained_rows(Path(model)), classifier.metadata.get("last_added", {})
    if n_trained_on := count_known(evaluation.rows, trained, last_added):
        notes.append(
            f"the model was fitted on {n_trained_on:,} of these {len(evaluation.rows):,} images, "
            "so expect lower scores on new ones"
        )
    elif n_seen := count_trained_on(classifier.encoder, evaluation.rows):
        notes.append(
            f"{classifier.encoder.name} was trained on {n_seen:,} of these "
            f"{len(evaluation.rows):,} images with their labels, or on others of their groups, so "
            "expect lower scores on new ones"
        )
    groups = {row.group for row in evaluation.rows} - {None}
    if shared := sorted(map(str, groups & {row.group for row in trained if row.group})):
        n_shared = sum(row.group in shared for row in evaluation.rows)
        notes.append(
            f"the model was fitted on images of {len(shared):,} of the {len(groups):,} groups, to "
            f"which {n_shared:,} of these images belong (such as {escape_path(shared[0])}), so "
            "expect lower scores on new groups"
        )
    notes += split_note
    if isinstance(evaluation, MultiLabelEvaluation):
        show_label_evaluation(evaluation)
    else:
        show_evaluation(evaluation)
    for note in notes:
        print_note(note)
    report = {"notes": list(dict.fromkeys([*read.notes, *notes])), **evaluation.to_json()}
    if out:
        write_atomically(Path(out), encode_json(report))
    return Result(report)


def _select_split(images: Images, source: str, split: str | None) -> tuple[Images, list[str]]:
    """Return the images of the requested or default split, and a note if others are left out.

    Raises:
        InputError: There is no such split.
    """
    from ilk.core.errors import InputError

    splits = {row.split for row in images.used}
    name = split or ("test" if "test" in splits else None)
    if not name:
        return images, []
    if name not in splits:
        raise InputError(
            f"there is no {name} split in {source}; it has: {', '.join(sorted(splits))}"
        )
    note = f"only the {name} split was scored; choose another with --split"
    return images.select_split(name), [note] if len(splits) > 1 else []
