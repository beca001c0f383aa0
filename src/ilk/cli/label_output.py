"""What `ilk label` writes without a page: the status, a table, a folder, a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ilk.cli.label_options import LabelOutput
from ilk.cli.output import print_notes

if TYPE_CHECKING:
    from ilk.labelling.session import LabellingSession


def write_outputs(session: LabellingSession, output: LabelOutput) -> dict[str, Any]:
    """Print the progress of a session and write its exports, as far as they are wanted.

    Returns:
        What `--json` prints: the progress, and where the exports are.

    Raises:
        NoLabels: Nothing is labelled.
        OutputError: Something exists already, or cannot be written.
    """
    session.wait_until_fitted()
    if output.status:
        from ilk.labelling.status import format_status

        for line in format_status(session.progress()):
            click.echo(line)
    if output.csv:
        n = session.export_csv(output.csv)
        click.echo(f"{n:,} labelled images listed in {output.csv}")
    if output.folder:
        n = session.export_folder(output.folder)
        click.echo(f"{n:,} labelled images copied to {output.folder}")
    if output.model:
        _fit(session, Path(output.model))
    exports = {"csv": output.csv, "folder": output.folder, "model": output.model}
    return {"log": session.log.path, "progress": session.progress(), "exports": exports}


def _fit(session: LabellingSession, path: Path) -> None:
    from ilk.artifacts.overwrite_guard import check_writable
    from ilk.core.progress import terminal_progress
    from ilk.labelling.model_export import describe_accuracy

    check_writable(path)
    classifier = session.fit_model(
        path, progress=terminal_progress(), log=lambda line: print_notes([line])
    )
    if accuracy := describe_accuracy(classifier):
        click.echo(accuracy)
    click.echo(f"the model is in {path}; see {path / 'report.html'}, or try it: ilk serve {path}")
