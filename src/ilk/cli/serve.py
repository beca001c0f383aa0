"""`ilk serve`: a model behind HTTP and a web page."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import click

from ilk.cli.address_options import Address, add_address_options
from ilk.cli.finite_range import FiniteRange
from ilk.cli.options import add_fetch_option, add_network_options

MEGABYTE = 2**20


@click.command()
@click.argument("model", required=False)
@add_address_options
@click.option(
    "--max-image",
    type=click.IntRange(1, 2048),
    default=64,
    show_default=True,
    help="Largest image that is accepted, in megabytes.",
)
@click.option(
    "--timeout",
    type=FiniteRange(0.1, 3600),
    default=30.0,
    show_default=True,
    help="Seconds after which a request fails if it has not been answered.",
)
@add_fetch_option
@add_network_options
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print address and token as JSON, on one line, instead of text.",
)
def command(
    model: str | None,
    address: Address,
    max_image: int,
    timeout: float,
    fetch: bool,
    device: str,
    runtime: str,
    as_json: bool,
) -> None:
    """Serve the model folder MODEL on a web page and over HTTP.

    Without MODEL, the model in the current folder is served if there is exactly one. Open the
    printed address in a browser; programs send images to /predict, and /openapi.json describes the
    rest. Corrections made on the page are folded into the model and kept beside it. Ctrl-C stops
    the server.
    """
    from ilk.artifacts.loading import load
    from ilk.serve.requirements import check_requirements

    check_requirements()
    from ilk.serve.app import ServerState, create_app
    from ilk.serve.decoding import Decoder
    from ilk.serve.limits import Limits
    from ilk.serve.model_host import ModelHost
    from ilk.serve.run import format_address, format_token, serve_socket

    folder = Path(model) if model else find_only_model(Path())
    listener = address.open_socket()  # first: it costs nothing to find that it is in use
    limits = Limits(
        image_bytes=max_image * MEGABYTE,
        request_bytes=max(2 * max_image, 128) * MEGABYTE,
        bodies_bytes=max(4 * max_image, 512) * MEGABYTE,
        seconds=timeout,
    )
    decoder = Decoder(limits)
    try:
        load_model = partial(load, device=device, runtime=runtime, fetch=fetch)
        served = ModelHost(folder, load_model, decoder, limits)
    except BaseException:
        listener.close()
        raise
    decoder.start()
    token, shown = address.token, format_address(listener)
    state = ServerState(limits, token, address.hosts, decoder=decoder, host=served)
    if as_json:
        click.echo(json.dumps({"address": shown, "token": token or None, "model": str(folder)}))
    else:
        page = f"{shown}{'/' if token else ''}{format_token(token)}"
        click.echo(f"ilk serves {folder} at {page}")
    for note in filter(None, (served.corrections.result.set_aside,)):
        click.echo(f"· {note}", err=True)
    if pending := served.corrections.result.pending:
        click.echo(f"· unsaved corrections of an earlier run: {len(pending):,}", err=True)
    click.echo("Ctrl-C stops it.", err=True)
    serve_socket(create_app(state), listener)
    click.echo("ilk: stopped", err=True)


def find_only_model(folder: Path) -> Path:
    """Return the model folder in `folder`, which may be `folder` itself.

    Raises:
        InputError: There is none, or more than one.
    """
    from ilk.artifacts.model_folder import CLASSIFIER, MULTI_LABEL, read_format
    from ilk.core.errors import InputError

    formats = (CLASSIFIER.format, MULTI_LABEL.format)
    if read_format(folder) in formats:
        return folder
    found = sorted(p for p in folder.iterdir() if p.is_dir() and read_format(p) in formats)
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(str(path) for path in found[:5])
        raise InputError(
            f"there are {len(found)} models here ({names}); name one: ilk serve {found[0]}"
        )
    raise InputError(
        "there is no model in this folder; train one with `ilk fit DIR --out MODEL`, or label the "
        "images of a folder with `ilk label DIR`, and serve it with `ilk serve KINDS`"
    )
