"""`ilk predict`: one row an input, in the order given."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ilk.cli.options import network_options, out_path

if TYPE_CHECKING:
    from ilk.classifier import Prediction


@click.command()
@click.argument("model")
@click.argument("inputs", nargs=-1, required=True)
@click.option(
    "--out", default="-", show_default=True, help=".csv, .tsv, .json, .jsonl, .parquet, or -."
)
@network_options
def command(model: str, inputs: tuple[str, ...], out: str, device: str, runtime: str) -> None:
    """Name the kind of each image with the model folder MODEL.

    A folder among INPUTS stands for the files in it, sorted. Exit code 0 when every input could
    be read, 1 when some could not; their rows say why.
    """
    from ilk.classifier import load
    from ilk.errors import NoImages
    from ilk.images import listing, shown
    from ilk.progress import told
    from ilk.rows import check_kind, stream_csv, write_rows

    path = out_path(out)
    if path is not None:
        check_kind(path)
    classifier = load(model, device=device, runtime=runtime)
    files = [file for given in inputs for file in listing(given)]
    if not files:
        where = ", ".join(shown(given) for given in inputs)
        raise NoImages(f"there is no file in {where}; name images, or a folder that has some")
    failed = 0

    def counted() -> Iterator[Prediction]:
        nonlocal failed
        for row in classifier.stream(files, progress=told()):
            failed += bool(row.error)
            yield row

    if path is None:
        stream_csv(counted(), sys.stdout)
    else:
        write_rows(counted(), Path(path))
        click.echo(f"{len(files):,} rows in {path}", err=True)
    if failed:
        click.echo(f"ilk: {failed:,} of {len(files):,} inputs could not be read", err=True)
        raise click.exceptions.Exit(1)
