"""`ilk predict`: one row per input, in the given order."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ilk.cli.csv_safe import add_csv_safe_option
from ilk.cli.intake_options import IntakeOptions
from ilk.cli.options import add_fetch_option, add_network_options
from ilk.cli.output import Result, add_json_option, is_json_wanted
from ilk.cli.source_options import add_source_options
from ilk.cli.tally import Tally

if TYPE_CHECKING:
    from ilk.artifacts.multi_label_prediction import MultiLabelPrediction
    from ilk.artifacts.prediction import Prediction

P = TypeVar("P", "Prediction", "MultiLabelPrediction")


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
    help="Encoder of an ensemble to leave out because it is no longer on this machine; may be "
    "repeated.",
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
    """Predict the class or the labels of each image with the model folder MODEL.

    INPUTS are images, folders (all files in them, sorted), tables and lists of paths (one row per
    line), zip and tar archives, quoted patterns such as 'photos/**/*.jpg', or - for paths from
    standard input. The exit code is 0 if every input could be read and 1 otherwise; the rows of
    unreadable inputs state the reason. Rows are written one by one: with --out x.csv to x.csv.part,
    which is renamed to x.csv when it is complete (.json and .parquet are written at the end).
    """
    from ilk.artifacts import multi_label_prediction, prediction_io
    from ilk.artifacts.loading import load
    from ilk.artifacts.multi_label_classifier import MultiLabelClassifier
    from ilk.artifacts.output_files import check_output_file
    from ilk.artifacts.row_formats import SUFFIXES
    from ilk.core.progress import terminal_progress

    path = None if out == "-" else Path(out)
    if path is not None:
        check_output_file(path, SUFFIXES, inputs)
    files = intake.list_inputs(inputs, path)
    classifier = load(model, device=device, runtime=runtime, fetch=fetch, without=without)
    intake.choose_range(classifier.value_ranges)  # refuses another one
    progress = terminal_progress()
    if isinstance(classifier, MultiLabelClassifier):
        labels = classifier.classes
        return _write(
            classifier.stream(files, progress=progress, pages=intake.pages),
            path,
            multi_label_prediction.to_row,
            lambda stream: multi_label_prediction.write_csv_stream(stream, labels, sys.stdout),
            lambda stream, file: multi_label_prediction.write_predictions(stream, labels, file),
        )
    return _write(
        classifier.stream(files, progress=progress, pages=intake.pages),
        path,
        prediction_io.to_row,
        lambda stream: prediction_io.write_csv_stream(stream, sys.stdout),
        prediction_io.write_predictions,
    )


def _write(
    predictions: Iterable[P],
    path: Path | None,
    to_row: Callable[[P], dict[str, Any]],
    print_rows: Callable[[Iterable[P]], None],
    save_rows: Callable[[Iterable[P], Path], None],
) -> Result:
    """Write predictions as they come, and print how many were written or could not be read.

    Args:
        predictions: The predictions.
        path: File to write; None is standard output.
        to_row: Returns a prediction as plain values, for `--json`.
        print_rows: Writes predictions to standard output.
        save_rows: Writes predictions to a file.
    """
    from ilk.cli.streams import until_lost

    as_json = is_json_wanted()
    rows: list[dict[str, Any]] = []
    tally = Tally()

    def stream() -> Iterator[P]:
        for prediction in predictions:
            tally.add(prediction)
            if as_json:
                rows.append(to_row(prediction))
            yield prediction

    with report_part(path):
        if path is None:
            print_rows(until_lost(stream()))
        else:
            save_rows(stream(), path)
            click.echo(f"{tally.n:,} rows in {path}", err=True)
    return tally.report(rows)


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
