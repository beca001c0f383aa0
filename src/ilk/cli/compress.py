"""`ilk compress`: make the network of a model folder smaller and faster, and measure the loss."""

from __future__ import annotations

import shlex
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ilk.cli.finite_range import FiniteRange
from ilk.cli.options import add_fetch_option, add_network_options, add_seed_option
from ilk.cli.output import Result, add_json_option, print_note, print_table
from ilk.core.terminal_text import escape_line

if TYPE_CHECKING:
    from ilk.artifacts.classifier import Classifier
    from ilk.compression.compress import Compression
    from ilk.export.check_images import CheckImages


@click.command()
@click.argument("model")
@click.option(
    "--out",
    required=True,
    help="Folder for the compressed model, or an .onnx file like those of `ilk export`.",
)
@click.option(
    "--int8/--float32",
    "int8",
    default=None,
    help="Quantize the network to 8 bits, or not [default: 8 bits unless --prune is given].",
)
@click.option(
    "--prune",
    type=FiniteRange(0, 0.95),
    default=0.0,
    help="Fraction of the network's multiply-adds to remove, as whole channels, such as 0.2.",
)
@click.option(
    "--max-loss",
    type=FiniteRange(0, 1),
    default=0.005,
    show_default=True,
    help="Largest acceptable loss of accuracy; nothing is written if significantly more is lost.",
)
@click.option(
    "--check-images",
    "sources",
    multiple=True,
    help="Labelled images to measure on: a folder, table, list, archive or quoted pattern; may be "
    "repeated [default: those that the model was fitted to, if they are still there].",
)
@click.option(
    "--max-images",
    type=click.IntRange(1),
    default=5000,
    show_default=True,
    help="Maximum number of images to measure on, spread evenly over all of them.",
)
@add_seed_option
@add_fetch_option
@add_network_options
@add_json_option
def command(
    model: str,
    out: str,
    int8: bool | None,
    prune: float,
    max_loss: float,
    sources: tuple[str, ...],
    max_images: int,
    seed: int,
    device: str,
    runtime: str,
    fetch: bool,
) -> Result:
    """Make the network of the model folder MODEL smaller and faster, and write the model to OUT.

    By default, the network is quantized to 8 bits (post-training quantization), which makes it
    faster in OpenVINO and ONNX Runtime and about a quarter of the size. --prune removes the least
    important channels (structured pruning) and refits the layers that read the remaining ones;
    zeroing single weights would make nothing faster. The head is refitted if the images that the
    model was fitted to are still there; calibration, prediction sets and the threshold for unknown
    images are always refitted. The table compares accuracy, calibration and prediction sets before
    and after, on images that neither head was fitted to.

    OUT is an ordinary model folder, which contains the network itself.
    """
    from ilk.artifacts.loading import load
    from ilk.artifacts.model_folder import read_digest
    from ilk.artifacts.output_files import check_outside, check_outside_sources
    from ilk.cli.output_folder import hold_output_folder, is_same_folder
    from ilk.compression.compress import compress_classifier
    from ilk.compression.config import CompressionConfig
    from ilk.core.errors import InputError
    from ilk.core.progress import terminal_progress
    from ilk.export.check_images import find_own_folders
    from ilk.export.export_file import check_packages
    from ilk.store import Store
    from ilk.updates.side_files import SideFiles

    config = CompressionConfig(prune == 0 if int8 is None else int8, prune, max_loss, seed)
    path, folder = Path(out), Path(model)
    if is_same_folder(out, folder):
        raise InputError(
            f"--out is the model itself; name a new folder, and keep {model} for comparison"
        )
    is_file = path.suffix.casefold() == ".onnx"
    if is_file:
        _check_file(path, (model, *sources))
    check_packages()
    digest = read_digest(folder)
    classifier = load(model, device=device, runtime=runtime, fetch=fetch)
    single = _refuse_other_models(classifier)
    side_files = replace(SideFiles.read(folder), digest=digest)
    if not is_file:
        check_outside(path, find_own_folders(folder))
        check_outside_sources(path, list(sources))
        hold_output_folder(path, source_model=folder)
    store = Store()
    images = _read_images(single, folder, sources, max_images, store)
    result = compress_classifier(
        single, folder, images, store, config, home=path, progress=terminal_progress()
    )
    side_files.check_unchanged()
    summary = summarize(result, config.phrase)
    if is_file:
        _write_file(result, folder, images, path)
    else:
        render = partial(side_files.render, summary)
        replace(result.classifier, side_files=render).save(path)
    show_figures(result)
    print_note(summary)
    for note in format_notes(result):
        print_note(note)
    click.echo(f"model  {path}")
    if not is_file:
        words = ("ilk", "predict", str(path))
        click.echo(f"next   {escape_line(shlex.join(words))} IMAGES")
    return Result({"model": str(path), "summary": summary, **result.report})


def _check_file(path: Path, sources: tuple[str, ...]) -> None:
    from ilk.artifacts.output_files import check_output_file

    check_output_file(path, (".onnx",), sources)


def _refuse_other_models(classifier: object) -> Classifier:
    from ilk.artifacts.classifier import Classifier
    from ilk.core.errors import InputError

    if not isinstance(classifier, Classifier):
        raise InputError(
            "a model with several labels per image cannot be compressed: its thresholds per label "
            "would have to be chosen again; fit it with a smaller encoder instead"
        )
    return classifier


def _read_images(
    classifier: Classifier, model: Path, sources: tuple[str, ...], limit: int, store: Any
) -> CheckImages:
    from ilk.core.errors import NoImages
    from ilk.core.progress import terminal_progress
    from ilk.export.check_images import encode_check_images, find_own_images
    from ilk.images import read_images

    if sources:
        images = read_images(list(sources) if len(sources) > 1 else sources[0], store=store)
        origin = ", ".join(sources)
    else:
        origin = "those that it was fitted to"
        try:
            images = find_own_images(model, limit)
        except NoImages:
            raise NoImages(
                "none of the images that this model was fitted to is still there, and compression "
                "is measured on images; name labelled ones with --check-images DIR"
            ) from None
    progress = terminal_progress()
    return encode_check_images(
        classifier, images, model, origin, store, limit=limit, progress=progress
    )


def _write_file(result: Compression, model: Path, images: CheckImages, path: Path) -> None:
    """Write the compressed classifier as an ONNX file that answers as it does."""
    from ilk.core.progress import terminal_progress
    from ilk.export.export_file import export_classifier

    same = replace(images, x=result.changed)
    export_classifier(result.classifier, model, same, path, progress=terminal_progress())


def show_figures(result: Compression) -> None:
    """Print what was measured before and after."""
    rows = [
        (
            figure.name,
            f"{figure.before:.4f}",
            f"{figure.after:.4f}",
            f"{figure.change:+z.4f}",
            f"[{figure.low:+z.4f}, {figure.high:+z.4f}]",
        )
        for figure in result.figures
    ]
    print_table(("", "before", "after", "change", "95 % interval"), rows)
    click.echo(
        f"{result.report['n_labelled']:,} labelled images ({result.report['scored']}); calibration "
        "and sets are those of the other folds"
    )


def summarize(result: Compression, phrase: str) -> str:
    """Say in one sentence what compression changed."""
    from datetime import date

    report = result.report
    accuracy = result.figures[0]
    size = report["bytes_after"] / report["bytes_before"]
    ratios = report["speed_ratios"]
    return (
        f"{date.today().isoformat()}: the network is {phrase}: {size:.0%} of the size, "
        f"{ratios['16']:.1f} times as fast in batches of 16 and {ratios['1']:.1f} times for single "
        f"images ({report['runtimes'][1]} against {report['runtimes'][0]}, on this machine); "
        "accuracy "
        f"{accuracy.before:.1%} before, {accuracy.after:.1%} after, on {report['n_labelled']:,} "
        f"labelled images ({report['scored']}), with the head {report['head']}."
    )


def format_notes(result: Compression) -> list[str]:
    """Return what else a user should know."""
    report, notes = result.report, []
    if report["loss"] > report["max_loss"]:
        notes.append(
            f"the loss is above {100 * report['max_loss']:g} points, but on these images that may "
            "be chance: check it on more labelled images"
        )
    if names := report["layers_in_float32"]:
        notes.append(
            f"{len(names)} of {report['layers']} layers stay in float32: {', '.join(names[:4])}"
        )
    if "multiply_adds" in report:
        before, after = report["multiply_adds"]
        notes.append(f"the pruned network has {after / before:.0%} of the multiply-adds")
    return notes
