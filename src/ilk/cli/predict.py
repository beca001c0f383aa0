"""`ilk predict`: one row per input, in the given order."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ilk.cli.csv_safe import add_csv_safe_option
from ilk.cli.intake_options import IntakeOptions
from ilk.cli.options import add_fetch_option, add_network_options
from ilk.cli.output import Result, add_json_option
from ilk.cli.source_options import add_source_options
from ilk.cli.tally import Tally

if TYPE_CHECKING:
    from ilk.artifacts.classifier import Classifier
    from ilk.artifacts.prediction import Prediction
    from ilk.images import ListedInputs


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
@add_csv_safe_option
@add_source_options
@add_fetch_option
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
    fetch: bool,
) -> Result:
    """Predict the class, or the labels, of each image with the model folder MODEL.

    INPUTS are images, folders (all files in them, sorted), tables and lists of paths (one row per
    line), zip and tar archives, quoted patterns such as 'photos/**/*.jpg', or - for paths from
    standard input. The exit code is 0 if every input could be read and 1 otherwise; the rows of
    unreadable inputs state the reason. Rows are written as they come: those of --out x.csv to
    x.csv.part, which becomes x.csv when all are there (.json and .parquet are written at the end).
    """
    from ilk.artifacts.loading import load
    from ilk.artifacts.multi_label_classifier import MultiLabelClassifier
    from ilk.artifacts.output_files import check_output_file
    from ilk.artifacts.prediction_io import to_row
    from ilk.artifacts.row_formats import SUFFIXES
    from ilk.cli.multi_label import predict_labels

    path = None if out == "-" else Path(out)
    if path is not None:
        check_output_file(path, SUFFIXES, inputs)
    files = intake.list_inputs(inputs, path)
    classifier = load(model, device=device, runtime=runtime, fetch=fetch, without=without)
    intake.choose_range(classifier.value_ranges)  # refuses another one
    as_json = bool(click.get_current_context().params.get("as_json"))
    if isinstance(classifier, MultiLabelClassifier):
        with report_part(path):
            rows, tally = predict_labels(classifier, files, path, intake.pages)
        return _report(rows, tally, path)
    predictions: list[Prediction] = []
    with report_part(path):
        tally = _write(classifier, files, path, predictions if as_json else None, intake.pages)
    return _report([to_row(p) for p in predictions], tally, path)


@contextmanager
def report_part(path: Path | None) -> Iterator[None]:
    """If the rows do not get complete, say where those are that were written."""
    from ilk.artifacts.row_file import get_part_path

    try:
        yield
    except BaseException:
        if path is not None and get_part_path(path).exists():
            click.echo(f"ilk: the rows so far are in {get_part_path(path)}", err=True)
        raise


def _report(rows: list[dict[str, Any]], tally: Tally, path: Path | None) -> Result:
    """Return the rows, and print how many inputs were written or could not be read."""
    if path is not None:
        click.echo(f"{tally.n:,} rows in {path}", err=True)
    tally.show_notes()
    if tally.n_failed:
        click.echo(f"ilk: {tally.n_failed:,} of {tally.n:,} inputs could not be read", err=True)
    return Result(rows, exit_code=1 if tally.n_failed else 0)


def _write(
    classifier: Classifier,
    files: ListedInputs,
    path: Path | None,
    collected: list[Prediction] | None,
    pages: str,
) -> Tally:
    """Write the predictions of `files` as they come and return what was counted.

    Args:
        classifier: The classifier.
        files: The images.
        path: File to write; None is standard output.
        collected: List that also receives the predictions, if given.
        pages: first or all of the pages of a file.
    """
    from ilk.artifacts.prediction_io import write_csv_stream, write_predictions
    from ilk.cli.streams import until_lost
    from ilk.core.progress import terminal_progress

    tally = Tally()

    def stream() -> Iterator[Prediction]:
        for prediction in classifier.stream(files, progress=terminal_progress(), pages=pages):
            tally.add(prediction)
            if collected is not None:
                collected.append(prediction)
            yield prediction

    if path is None:
        write_csv_stream(until_lost(stream()), sys.stdout)
    else:
        write_predictions(stream(), path)
    return tally
