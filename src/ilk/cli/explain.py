"""`ilk explain`: heat maps of what supports an answer, each with a verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ilk.cli.intake_options import IntakeOptions
from ilk.cli.options import add_fetch_option, add_network_options, add_seed_option
from ilk.cli.output import Result, add_json_option, is_json_wanted, print_note
from ilk.cli.source_options import add_source_options

if TYPE_CHECKING:
    from PIL.Image import Image

    from ilk.artifacts.explanation_folder import ExplanationFolder
    from ilk.images import Images, ListedInputs, Row


@click.command()
@click.argument("model")
@click.argument("inputs", nargs=-1, required=True)
@click.option("--out", required=True, help="Folder for the maps and their page, index.html.")
@click.option(
    "--method",
    default="auto",
    show_default=True,
    help="Explainer: auto, occlusion, rise, grad-cam, gradient-token, integrated-gradients, "
    "attention-rollout, error-maps, nearest-images, …; auto compares, on some images, those that "
    "need no more passes than --budget, and uses the best one.",
)
@click.option("--target", help="Class to explain [default: the most probable one of each image].")
@click.option(
    "--against",
    help="Class to contrast --target with, or runner-up [default: none; the map explains the "
    "calibrated probability].",
)
@click.option(
    "--budget",
    type=click.IntRange(1),
    default=250,
    show_default=True,
    help="Maximum number of passes of the encoder per map, for --method auto.",
)
@click.option(
    "--train-images",
    help="Train attention maps for --method t-tame on the images of this folder (labels are not "
    "needed), and save them in MODEL, whose answers stay the same.",
)
@click.option(
    "--check/--no-check",
    default=True,
    show_default=True,
    help="Check once that a model with random parameters gives different maps.",
)
@add_seed_option
@add_source_options
@add_fetch_option
@add_network_options
@add_json_option
def command(
    model: str,
    inputs: tuple[str, ...],
    out: str,
    method: str,
    target: str | None,
    against: str | None,
    budget: int,
    train_images: str | None,
    check: bool,
    seed: int,
    intake: IntakeOptions,
    device: str,
    runtime: str,
    fetch: bool,
) -> Result:
    """Draw what supports the answers of the model folder MODEL, and say whether to trust each map.

    INPUTS are images, folders, tables, archives or patterns, as for ilk predict. The page
    index.html in --out shows each image with its map, its verdict, a text, and the nearest training
    images. The exit code is 0 if every input could be read and 1 otherwise.
    """
    from ilk.artifacts.explanation_folder import ExplanationFolder, check_explanation_folder
    from ilk.artifacts.loading import load
    from ilk.explain.explain_image import choose_on_pictures
    from ilk.explain.question import ask
    from ilk.explain.randomization import check_randomization
    from ilk.explain.registry import AUTO, parse_explainer

    folder = check_explanation_folder(Path(out), inputs)
    chosen: Any = parse_explainer(method) if method != AUTO else None
    files = intake.list_inputs(inputs)
    classifier = load(model, device=device, runtime=runtime, fetch=fetch)
    intake.choose_range(classifier.value_ranges)  # refuses another one
    _check_classes(classifier.classes, target, against)
    rows = _list_rows(classifier, files, intake)
    notes: list[str] = []
    if train_images is not None:
        classifier = _train_maps(classifier, model, train_images, intake, seed)
        n = classifier.attention_maps.n_images
        notes.append(f"attention maps were trained on {n:,} images and saved in {model}")
    first = _decode_first(rows)
    if first and chosen is None:
        choice = choose_on_pictures(classifier, first, seed, budget)
        notes.append(f"{choice.explainer.name} was {choice.sentence}")
        chosen = choice.explainer
    checked = None
    if first and check:
        subject, _ = ask(classifier, first[0], target, against)
        checked = check_randomization([subject], chosen, seed)
        notes.append(checked.sentence)
    writer = ExplanationFolder(folder).open()
    options = {"target": target, "against": against, "method": chosen, "seed": seed}
    found = _explain_rows(classifier, rows, writer, options)
    page = writer.write_page(notes)
    for note in notes:
        print_note(note)
    click.echo(f"page {page}")
    n_failed = sum("error" in one for one in found)
    if n_failed:
        click.echo(f"ilk: {n_failed:,} of {len(rows):,} inputs could not be explained", err=True)
    value = {"page": page, "images": found, "notes": notes, "check": checked}
    return Result(value, exit_code=1 if n_failed else 0)


def _check_classes(classes: Sequence[str], target: str | None, against: str | None) -> None:
    """Raise UnknownName if a class is none of the model's."""
    from ilk.core.errors import UnknownName
    from ilk.explain.question import RUNNER_UP

    for name in (target, None if against == RUNNER_UP else against):
        if name is not None and name not in classes:
            raise UnknownName("class of this model", name, classes)


def _list_rows(
    classifier: Any, files: ListedInputs, intake: IntakeOptions
) -> list[tuple[Images, Row]]:
    """Return the rows of inputs, read with the value ranges of a classifier."""
    from ilk.artifacts.image_blocks import iter_image_blocks
    from ilk.images.value_ranges.model_ranges import use_ranges

    blocks = iter_image_blocks(files, intake.pages)
    ranged = (use_ranges(block, classifier.value_ranges) for block in blocks)
    return [(images, row) for images in ranged for row in images.rows]


def _explain_rows(
    classifier: Any,
    rows: Sequence[tuple[Images, Row]],
    writer: ExplanationFolder,
    options: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Write and print the explanation of each row; return what `--json` prints of them.

    Without `--json` they are not kept: the maps of many images would fill the memory.
    """
    from ilk.core.errors import InputError
    from ilk.core.progress import terminal_progress
    from ilk.explain.explain_image import explain_picture

    found: list[dict[str, Any]] = []
    with terminal_progress()("explaining", len(rows)) as advance:
        for images, row in rows:
            try:
                explanation = explain_picture(classifier, _decode(images, row), **options)
            except InputError as error:
                writer.refuse(row.path, str(error))
                found.append({"path": row.path, "error": str(error)})
                click.echo(f"ilk: {error}", err=True)
            else:
                file = writer.add(row.path, explanation)
                values = explanation.to_dict() if is_json_wanted() else {}
                found.append({"path": row.path, "map": writer.folder / file, **values})
                click.echo(f"{row.path}\n  {explanation.text}")
            advance(1)
    return found


def _train_maps(classifier: Any, model: str, source: str, intake: IntakeOptions, seed: int) -> Any:
    """Return the classifier with attention maps trained on a source, saved in its folder."""
    from ilk.core.progress import terminal_progress
    from ilk.explain.train_maps import train_maps

    rows = _list_rows(classifier, intake.list_inputs((source,)), intake)
    used = [pair for pair in rows if pair[1].status == "used"]
    trained = train_maps(
        classifier, used, lambda pair: _decode(*pair), seed=seed, progress=terminal_progress()
    )
    trained.save(model)
    return trained


def _decode(images: Images, row: Row) -> Image:
    from ilk.explain.read_image import decode_row

    return decode_row(images, row)


def _decode_first(rows: list[tuple[Images, Row]]) -> list[Image]:
    """Return the first few images that can be decoded."""
    from itertools import islice

    from ilk.core.errors import InputError
    from ilk.explain.choice import MAX_IMAGES

    def decode_used() -> Iterator[Image]:
        for images, row in rows:
            try:
                yield _decode(images, row)
            except InputError:
                continue

    return list(islice(decode_used(), MAX_IMAGES))
