"""`ilk detect`: train an anomaly detector on normal images, and score other images with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ilk.cli.csv_safe import add_csv_safe_option
from ilk.cli.detect_evaluate import evaluate
from ilk.cli.detect_output import (
    CSV_HEADER,
    MAP_COLUMNS,
    open_maps,
    to_map_row,
    to_row,
    write_rows,
)
from ilk.cli.detect_threshold import compute_threshold
from ilk.cli.intake_options import IntakeOptions
from ilk.cli.options import add_fetch_option, add_network_options
from ilk.cli.output import Result, add_json_option
from ilk.cli.source_options import add_group_options, add_source_options
from ilk.cli.tally import Tally

if TYPE_CHECKING:
    from ilk.core.capabilities import Embeds
    from ilk.images import Images


@click.group()
def command() -> None:
    """Train an anomaly detector on normal images, or score images with it."""


@command.command(short_help="Train a detector on normal images.")
@click.argument("source")
@click.option("--out", required=True, help="Folder for the detector.")
@click.option(
    "--encoder",
    default="",
    help="Encoder to use [default: a pretrained network if one is available, else hog].",
)
@click.option(
    "--resize",
    default="auto",
    show_default=True,
    help="How images of a different shape than the encoder's input are resized: crop, squash, "
    "letterbox, or auto, which squashes the whole image.",
)
@click.option(
    "--method",
    default="auto",
    show_default=True,
    help="Detector, such as GaussianAnomaly, NearestNeighbour or PatchMemory; auto compares them "
    "on synthetic anomalies made from your images.",
)
@click.option(
    "--false-alarm",
    default=0.01,
    show_default=True,
    help="Fraction of normal images that may be flagged.",
)
@add_group_options
@add_source_options
@add_network_options
@add_json_option
def fit(
    source: str,
    out: str,
    encoder: str,
    resize: str,
    method: str,
    false_alarm: float,
    intake: IntakeOptions,
    device: str,
    runtime: str,
) -> Result:
    """Train a detector on the images of SOURCE, all of which count as normal.

    SOURCE is a folder (the names of its sub-folders are ignored), a table or list of paths, an
    archive, a quoted pattern, or - for standard input. A defect may be at the border, so --resize
    auto squashes the whole image to the input size and cuts nothing off.
    """
    from ilk.artifacts.model_folder import DETECTOR, read_digest
    from ilk.artifacts.output_files import check_outside_sources
    from ilk.cli.output_folder import hold_output_folder
    from ilk.core.errors import InputError
    from ilk.core.progress import terminal_progress
    from ilk.encode import encode_and_refuse
    from ilk.encoders.variants import check_variants
    from ilk.fitting.detector import check_method, fit_detector, show_whole_image
    from ilk.maths.alarm_threshold import check_false_alarm_rate
    from ilk.store import Store

    check_variants(resize, 1)
    check_false_alarm_rate(false_alarm)
    check_method(method)
    if read_digest(Path(source)):
        raise InputError(
            f"{source} is a model folder already; score images with: ilk detect score {source} NEW"
        )
    home = hold_output_folder(check_outside_sources(Path(out), source), DETECTOR)
    store, progress = Store(), terminal_progress()
    images = intake.read_unlabelled(source, store)
    network = _choose_encoder(encoder, images, device, runtime)
    network = show_whole_image(network, resize, _print_note)
    images = encode_and_refuse(images, [network], store, progress=progress)
    detector = fit_detector(
        images,
        network,
        store,
        method=method,
        false_alarm=false_alarm,
        progress=progress,
        log=_print_note,
    )
    refused = f"; {len(images.refused):,} files were refused" if images.refused else ""
    how = f"{detector.method} on {network.name}"
    click.echo(f"fitted {how} to {len(images.used):,} images{refused}", err=True)
    threshold = compute_threshold(detector)
    detector.save(home)
    click.echo(f"detector {home}", err=True)
    counts = {"images": len(images.used), "refused": len(images.refused)}
    found = {"method": detector.method, "threshold": threshold, "choice": dict(detector.choice)}
    return Result({"detector": home, "encoder": network.name, **found, **counts})


@command.command(short_help="Score images and flag anomalies.")
@click.argument("detector")
@click.argument("inputs", nargs=-1, required=True)
@click.option(
    "--out", default="-", show_default=True, help="CSV file for the scores; - is standard output."
)
@click.option(
    "--false-alarm",
    type=float,
    help="Fraction of normal images that may be flagged [default: as given to fit].",
)
@click.option(
    "--maps",
    help="Folder for a map of each image that shows where it is anomalous, and a page of the worst "
    "images; for detectors that compare patches.",
)
@add_csv_safe_option
@add_source_options
@add_fetch_option
@add_network_options
@add_json_option
def score(
    detector: str,
    inputs: tuple[str, ...],
    out: str,
    false_alarm: float | None,
    maps: str | None,
    intake: IntakeOptions,
    device: str,
    runtime: str,
    fetch: bool,
) -> Result:
    """Score images with the detector in the folder DETECTOR and flag anomalies.

    INPUTS are images, folders, tables and lists of paths, archives, quoted patterns, or - for
    standard input. The exit code is 0 if every input could be read and 1 otherwise.

    With --maps, each row also has the name of the map, and the left, top, right and bottom of the
    most anomalous region in pixels.
    """
    from ilk.artifacts.detector import load
    from ilk.artifacts.map_folder import check_map_folder
    from ilk.artifacts.output_files import check_output_file
    from ilk.cli.predict import report_part
    from ilk.core.progress import terminal_progress
    from ilk.maths.alarm_threshold import check_false_alarm_rate
    from ilk.store import Store

    if false_alarm is not None:
        check_false_alarm_rate(false_alarm)
    path = None if out == "-" else check_output_file(Path(out), (".csv",), inputs)
    if maps is not None:
        check_map_folder(Path(maps), inputs)
    listed = intake.list_inputs(inputs, path)
    loaded = load(Path(detector), device=device, runtime=runtime, fetch=fetch)
    if false_alarm is not None:
        loaded = replace(loaded, false_alarm=false_alarm)
    threshold = compute_threshold(loaded)
    intake.choose_range(loaded.value_ranges)  # refuses another one
    folder = None if maps is None else open_maps(loaded, Path(maps), threshold)
    results = loaded.stream(
        listed, Store(), threshold, terminal_progress(), intake.pages, folder is not None
    )
    tally, header = Tally(), CSV_HEADER if folder is None else (*CSV_HEADER, *MAP_COLUMNS)
    with report_part(path):
        rows = write_rows(
            ({**to_row(r, threshold, tally), **to_map_row(r, folder)} for r in results),
            path,
            header,
        )
    if path is not None:
        click.echo(f"{tally.n:,} rows in {path}", err=True)
    if folder is not None:
        click.echo(f"maps {folder.write_page(threshold is not None)}", err=True)
    return tally.report(rows)


def _choose_encoder(name: str, images: Images, device: str, runtime: str) -> Embeds:
    """Return the named encoder, or the last default: a pretrained network if one is available."""
    from ilk.encoders import choose_encoders, resolve_encoder

    if name:
        return resolve_encoder(name, images=images, device=device, runtime=runtime)
    return choose_encoders(images, device=device, runtime=runtime)[0][-1]


def _print_note(line: str) -> None:
    click.echo(line, err=True)


command.add_command(evaluate)
