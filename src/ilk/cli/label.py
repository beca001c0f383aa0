"""`ilk label`: label a folder of images in the browser, with the help of a model that learns."""

from __future__ import annotations

from pathlib import Path

import click

from ilk.cli.address_options import Address, add_address_options
from ilk.cli.label_options import LabelOutput, add_output_options
from ilk.cli.options import add_seed_option
from ilk.cli.output import Result, add_json_option


@click.command()
@click.argument("source", metavar="DIR")
@click.option(
    "--class",
    "--classes",
    "classes",
    multiple=True,
    help="Class names to begin with, such as cat,dog; may be repeated.",
)
@click.option(
    "--log",
    "log_path",
    help="File that keeps every answer [default: DIR.labels.sqlite, beside the folder].",
)
@click.option(
    "--encoder",
    default="default",
    show_default=True,
    help="Encoder of the images; `default` is the small network that is installed with ilk.",
)
@click.option(
    "--folders-are-labels/--no-folder-labels",
    "read_labels",
    default=True,
    show_default=True,
    help="Whether the name of a sub-folder is the label of its images.",
)
@add_seed_option
@add_address_options
@click.option(
    "--no-browser",
    "browser",
    is_flag=True,
    flag_value=False,
    default=True,
    help="Print the address of the page, but do not open it in a browser.",
)
@add_output_options
@add_json_option
def command(
    source: str,
    classes: tuple[str, ...],
    log_path: str | None,
    encoder: str,
    read_labels: bool,
    seed: int,
    address: Address,
    browser: bool,
    output: LabelOutput,
) -> Result:
    """Label the images of DIR on a web page, with a model that learns while you label.

    Open the printed address in a browser. The page asks for the labels that teach the model most,
    suggests classes and whole groups, and shows how accurate the model is on images drawn at
    random. No mouse is needed: digits assign a class, Space accepts the suggestion, u undoes.
    Several people can label at once, each without seeing the others' answers.

    Every answer is written to the log before the next image is shown; nothing is written into DIR.
    Ctrl-C stops the server, and the same command continues where it stopped. With --status,
    --export-csv, --export-folder or --export-model, the log is only read and no page is served;
    this works while another process serves the page.
    """
    from ilk.cli.label_output import write_outputs
    from ilk.cli.label_server import serve_labelling
    from ilk.cli.label_session import open_session
    from ilk.labelling.opening import get_log_path

    names = [name.strip() for text in classes for name in text.split(",") if name.strip()]
    log = Path(log_path) if log_path else get_log_path(source)
    only_read = output.is_wanted
    if not only_read:
        from ilk.serve.requirements import check_requirements

        check_requirements()
        listener = address.open_socket()  # first: it costs nothing to find that it is in use
    try:
        session = open_session(source, log, encoder, names, seed, read_labels, read_only=only_read)
    except BaseException:
        if not only_read:
            listener.close()
        raise
    with session:
        if only_read:
            return Result(write_outputs(session, output))
        return Result(serve_labelling(session, source, listener, address, browser))
