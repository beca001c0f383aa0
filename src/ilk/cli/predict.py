"""`ilk predict`: one row per input, in the given order."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ilk.cli.options import IntakeOptions, add_network_options, add_source_options
from ilk.cli.output import Result, add_json_option

if TYPE_CHECKING:
    from ilk.artifacts.classifier import Classifier
    from ilk.artifacts.prediction import Prediction


@click.command()
@click.argument("model")
@click.argument("inputs", nargs=-1, required=True)
@click.option(
    "--out",
    default="-",
    show_default=True,
    help="File for the predictions: .csv, .tsv, .json, .jsonl or .parquet; - is standard output.",
)
@click.option(
    "--without",
    multiple=True,
    help="Encoder of an ensemble to do without, because it is gone from this machine.",
)
@add_source_options
@add_network_options
@add_json_option
def command(
    model: str,
    inputs: tuple[str, ...],
    out: str,
    without: tuple[str, ...],
    intake: IntakeOptions,
    device: str,
    runtime: str,
) -> Result:
    """Predict the class, or the labels, of each image with the model folder MODEL.

    INPUTS are images or folders; a folder stands for all files in it, sorted. The exit code is 0 if
    every input could be read and 1 otherwise; the rows of unreadable inputs state the reason.
    """
    from ilk.artifacts.loading import load
    from ilk.artifacts.multi_label_classifier import MultiLabelClassifier
    from ilk.artifacts.prediction_io import check_suffix, to_row
    from ilk.cli.multi_label import predict_labels
    from ilk.core.errors import NoImages
    from ilk.images import escape_path, list_files

    path = None if out == "-" else Path(out)
    if path is not None:
        check_suffix(path)
    classifier = load(model, device=device, runtime=runtime, without=without)
    files = [file for source in inputs for file in list_files(source)]
    if not files:
        names = ", ".join(escape_path(source) for source in inputs)
        raise NoImages(f"there is no file in {names}; name images, or a folder that contains some")
    as_json = bool(click.get_current_context().params.get("as_json"))
    if isinstance(classifier, MultiLabelClassifier):
        rows, n_failed = predict_labels(classifier, files, path)
        return _report(rows, len(files), n_failed, path)
    predictions: list[Prediction] = []
    n_failed = _write(classifier, files, path, predictions if as_json else None)
    return _report([to_row(p) for p in predictions], len(files), n_failed, path)


def _report(rows: list[dict[str, Any]], n: int, n_failed: int, path: Path | None) -> Result:
    """Return the rows, and print how many of `n` inputs were written or could not be read."""
    if path is not None:
        click.echo(f"{n:,} rows in {path}", err=True)
    if n_failed:
        click.echo(f"ilk: {n_failed:,} of {n:,} inputs could not be read", err=True)
    return Result(rows, exit_code=1 if n_failed else 0)


def _write(
    classifier: Classifier, files: list[str], path: Path | None, collected: list[Prediction] | None
) -> int:
    """Write the predictions of `files` as they come and return how many files were unreadable.

    Args:
        classifier: The classifier.
        files: Paths of images.
        path: File to write; None is standard output.
        collected: List that also receives the predictions, if given.
    """
    from ilk.artifacts.prediction_io import write_csv_stream, write_predictions
    from ilk.core.progress import terminal_progress

    n_failed = 0

    def stream() -> Iterator[Prediction]:
        nonlocal n_failed
        for prediction in classifier.stream(files, progress=terminal_progress()):
            n_failed += bool(prediction.error)
            if collected is not None:
                collected.append(prediction)
            yield prediction

    if path is None:
        write_csv_stream(stream(), sys.stdout)
    else:
        write_predictions(stream(), path)
    return n_failed
