"""`ilk check`: every file ends in one row, used or refused."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import click

from ilk.cli.options import Intake, intake_options


@click.command()
@click.argument("source")
@intake_options
@click.option("--out", help="Write the whole intake report to this JSON file.")
def command(
    source: str,
    intake: Intake,
    out: str | None,
) -> None:
    """Look at SOURCE: a folder of class folders, a table, or a list of paths.

    Exit code 0 when every file can be used, 1 when some were refused.
    """
    from ilk.artefact import json_bytes, write_file
    from ilk.cli.options import show_intake, table
    from ilk.errors import InputError
    from ilk.store import Store

    if out and all(map(os.path.exists, (out, source))) and os.path.samefile(out, source):
        raise InputError(f"{out} is what is to be looked at; name another file with --out")
    images = intake.read(source, Store(), verify=True)
    show_intake(images)
    splits, labels = sorted({row.split for row in images.used}), {row.label for row in images.used}
    counts = Counter((row.label, row.split) for row in images.used)
    table(
        ("class", *splits),
        [
            (name or "(no label)", *(f"{counts[name, split]:,}" for split in splits))
            for name in (*images.classes[:50], *([None] if None in labels else []))
        ],
    )
    if len(images.classes) > 50:
        click.echo(f"… and {len(images.classes) - 50} more classes")
    if out:
        write_file(Path(out), json_bytes(images.to_json()))
    if images.refused:
        raise click.exceptions.Exit(1)
