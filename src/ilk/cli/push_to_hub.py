"""`ilk push-to-hub`: upload a model folder with its card."""

from __future__ import annotations

from pathlib import Path

import click

from ilk.cli.output import Result, add_json_option, print_note


@click.command()
@click.argument("model")
@click.argument("repo")
@click.option("--public", is_flag=True, help="Make a new repository public.")
@click.option(
    "--license",
    "license_name",
    default="",
    help="Licence, by the name that the hub uses, such as apache-2.0.",
)
@click.option(
    "--with-report",
    is_flag=True,
    help="Also upload the report and the list of images, which show images and their paths.",
)
@click.option(
    "--onnx", "onnx_files", multiple=True, help="Also upload this exported file; may be repeated."
)
@add_json_option
def command(
    model: str,
    repo: str,
    public: bool,
    license_name: str,
    with_report: bool,
    onnx_files: tuple[str, ...],
) -> Result:
    """Upload the model folder MODEL with its card to the hub repository REPO (ORG/NAME).

    A repository that does not exist is created; it is private unless --public is given. The token
    of `hf auth login` or of the environment variable HF_TOKEN is used.
    """
    from ilk.export.hub_transfer import push

    result = push(
        Path(model),
        repo,
        is_public=public,
        with_report=with_report,
        license_name=license_name,
        further_files=[Path(file) for file in onnx_files],
    )
    click.echo(f"model  {result.repo}@{result.revision}")
    if not license_name:
        print_note("the card states no licence; name one with --license, such as apache-2.0")
    return Result({"repo": result.repo, "revision": result.revision})
