"""What `ilk label` writes without a page: the status, a table, a folder, a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ilk.cli.label_options import LabelOutput

if TYPE_CHECKING:
    from ilk.labelling.session import LabellingSession


def write_outputs(session: LabellingSession, output: LabelOutput) -> None:
    """Print the progress of a session and write its exports, as far as they are wanted.

    Raises:
        NoLabels: Nothing is labelled.
        OutputError: Something exists already, or cannot be written.
    """
    if output.status:
        from ilk.labelling.status import format_status

        session.wait_until_fitted()
        for line in format_status(session.progress()):
            click.echo(line)
    if output.csv:
        n = session.export_csv(output.csv)
        click.echo(f"{n:,} labelled images are listed in {output.csv}")
    if output.folder:
        n = session.export_folder(output.folder)
        click.echo(f"{n:,} labelled images are copied to {output.folder}")
    if output.model:
        _fit(session, Path(output.model))


def _fit(session: LabellingSession, path: Path) -> None:
    from ilk.artifacts.overwrite_guard import check_writable
    from ilk.core.progress import terminal_progress

    check_writable(path)
    session.fit_model(path, progress=terminal_progress())
    click.echo(f"the model is in {path}; see {path / 'report.html'}, or ask it: ilk serve {path}")
