"""`ilk export`: write a model folder as one ONNX file that answers the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ilk.cli.options import add_fetch_option, add_network_options
from ilk.cli.output import Result, add_json_option, print_note

if TYPE_CHECKING:
    from ilk.artifacts.classifier import Classifier
    from ilk.export.check_images import CheckImages


@click.command()
@click.argument("model")
@click.option("--onnx", "onnx_file", help="Write the classifier to this .onnx file.")
@click.option(
    "--int8",
    is_flag=True,
    help="Quantize the network to 8 bits; calibration and thresholds are refitted, and the loss of "
    "accuracy is measured.",
)
@click.option(
    "--check-images",
    "sources",
    multiple=True,
    help="Images on which the file must give the same answers as the model: a folder, table, list, "
    "archive or quoted pattern, with labels for --int8; may be repeated [default: those that the "
    "model was fitted to, if they are still there].",
)
@click.option(
    "--max-images",
    type=click.IntRange(1),
    default=500,
    show_default=True,
    help="Maximum number of images to compare on, spread evenly over all of them.",
)
@click.option(
    "--runner",
    is_flag=True,
    help="Also write run_model.py beside the file; it runs the file and needs only onnxruntime and "
    "Pillow.",
)
@click.option("--card", help="Write a model card, such as model-card.md.")
@add_fetch_option
@add_network_options
@add_json_option
def command(
    model: str,
    onnx_file: str | None,
    int8: bool,
    sources: tuple[str, ...],
    max_images: int,
    runner: bool,
    card: str | None,
    device: str,
    runtime: str,
    fetch: bool,
) -> Result:
    """Write the model folder MODEL as one file that needs neither ilk nor torch.

    The file maps the pixels of upright RGB images of any size to name, calibrated probabilities,
    prediction set and unknown flag. Before it is written, it is compared with the model on images;
    if an answer differs, the step that differs is named and nothing is written. The program that
    uses the file must read the images, rotate them by their EXIF orientation and put transparency
    on white; run_model.py shows how.
    """
    from ilk.artifacts.loading import load
    from ilk.core.atomic_write import write_atomically

    path = Path(onnx_file) if onnx_file else None
    _check_outputs(path, card, (model, *sources), runner=runner, needs_file=int8 or bool(sources))
    classifier = load(model, device=device, runtime=runtime, fetch=fetch)
    values: dict[str, Any] = {}
    if path:
        from ilk.export.export_file import refuse_other_models

        single = refuse_other_models(classifier)
        images = _read_check_images(single, Path(model), sources, max_images)
        values = _write_onnx(single, Path(model), images, path, int8=int8, runner=runner)
    if card:
        from ilk.export.card import write_card

        content = write_card(Path(model), export=values or None)
        write_atomically(Path(card), content.encode())
        click.echo(f"card   {card}")
        values["card"] = card
    return Result(values)


def _check_outputs(
    path: Path | None, card: str | None, sources: Sequence[str], *, runner: bool, needs_file: bool
) -> None:
    """Refuse what cannot be written, before any work.

    Args:
        path: The ONNX file, or None.
        card: The model card, or None.
        sources: The model folder and the images, none of which is overwritten.
        runner: Whether the runner is written.
        needs_file: Whether another option needs an ONNX file.
    """
    from ilk.artifacts.output_files import check_output_file
    from ilk.core.errors import InputError
    from ilk.export.export_file import RUNNER_FILE, check_packages

    if not path and not card:
        raise InputError("nothing to write; name a file with --onnx model.onnx or --card FILE")
    if not path and (runner or needs_file):
        raise InputError("--int8, --runner and --check-images need a file: --onnx model.onnx")
    if path:
        check_packages()
        check_output_file(path, (".onnx",), sources)
        if runner:
            check_output_file(path.with_name(RUNNER_FILE), (".py",), sources)
    if card:
        check_output_file(Path(card), (".md",), sources)


def _write_onnx(
    classifier: Classifier,
    model: Path,
    images: CheckImages,
    path: Path,
    *,
    int8: bool,
    runner: bool,
) -> dict[str, Any]:
    """Write and describe the ONNX file and its runner; return what `--json` prints of them."""
    from ilk.core.atomic_write import write_atomically
    from ilk.core.progress import terminal_progress
    from ilk.export.export_file import RUNNER_FILE, export_classifier, read_runner

    result = export_classifier(
        classifier, model, images, path, int8=int8, progress=terminal_progress()
    )
    click.echo(f"model  {path}  ({result.n_bytes / 1e6:,.1f} MB)")
    if images.images.refused:
        print_note(f"{len(images.images.refused):,} files could not be read and were not compared")
    which = "with the model in 8 bits, calibrated again, " if result.int8 else ""
    print_note(f"{which}{result.parity.sentence}")
    for note in (result.int8 or {}).get("notes", ()):
        print_note(note)
    if runner:
        write_atomically(path.with_name(RUNNER_FILE), read_runner().encode())
        click.echo(f"runner {path.with_name(RUNNER_FILE)}")
    return result.to_json()


def _read_check_images(
    classifier: Classifier, model: Path, sources: tuple[str, ...], limit: int
) -> CheckImages:
    from ilk.core.progress import terminal_progress
    from ilk.export.check_images import encode_check_images, find_own_images
    from ilk.images import read_images
    from ilk.store import Store

    store = Store()
    if sources:
        images = read_images(list(sources) if len(sources) > 1 else sources[0], store=store)
        origin = ", ".join(sources)
    else:
        images, origin = find_own_images(model, limit), "those that it was fitted to"
    progress = terminal_progress()
    return encode_check_images(
        classifier, images, model, origin, store, limit=limit, progress=progress
    )
