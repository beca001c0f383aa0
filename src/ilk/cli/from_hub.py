"""`ilk from-hub`: download a model folder."""

from __future__ import annotations

from pathlib import Path

import click

from ilk.cli.output import Result, add_json_option, print_note


@click.command()
@click.argument("repo")
@click.option("--out", required=True, help="Folder for the model.")
@add_json_option
def command(repo: str, out: str) -> Result:
    """Download the model of the hub repository REPO: ORG/NAME, or ORG/NAME@REVISION.

    Its digests are checked, and no code in it is run. An encoder that is not on this machine is
    downloaded when the model is used with --fetch.
    """
    from ilk.cli.output_folder import hold_output_folder
    from ilk.export.hub_transfer import pull

    folder = hold_output_folder(Path(out))
    result = pull(repo, folder)
    click.echo(f"model  {folder}")
    print_note(f"{result.repo} at revision {result.revision}")
    return Result({"model": str(folder), "repo": result.repo, "revision": result.revision})
