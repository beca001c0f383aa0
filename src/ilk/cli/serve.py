"""`ilk serve`: a model behind HTTP and a web page."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from ilk.cli.address_options import Address, add_address_options
from ilk.cli.finite_range import FiniteRange
from ilk.cli.options import add_fetch_option, add_network_options

MEGABYTE = 2**20
MAX_NAMED = 10  # models in a message


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

    folder = find_model(model)
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


def find_model(given: str | None) -> Path:
    """Return the model folder that is named, or else the only one in the current folder.

    Raises:
        InputError: None is named, and there is none or more than one; or a folder of models is.
    """
    from ilk.core.errors import InputError

    folder = Path(given or ".")
    if _is_model(folder):
        return folder
    found = _list_models(folder)
    if given and not found:
        return folder  # what it is instead is said where it is loaded
    if not given and len(found) == 1:
        return found[0]
    place = folder if given else "this folder"
    if found:
        raise InputError(f"{place} holds {_describe(found)}")
    if deeper := [p for sub in _list_folders(folder) for p in _list_models(sub)]:
        raise InputError(f"there is no model in {place} itself; further down: {_describe(deeper)}")
    raise InputError(
        f"there is no model in {place}; train one with `ilk fit DIR --out MODEL`, or label the "
        "images of a folder with `ilk label DIR`, and serve it with `ilk serve MODEL`"
    )


def _is_model(folder: Path) -> bool:
    from ilk.artifacts.model_folder import CLASSIFIER, MULTI_LABEL, read_format

    return read_format(folder) in (CLASSIFIER.format, MULTI_LABEL.format)


def _list_folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:
        return []


def _list_models(folder: Path) -> list[Path]:
    return [path for path in _list_folders(folder) if _is_model(path)]


def _describe(models: Sequence[Path]) -> str:
    """Return how many models there are, which, and what to type."""
    from ilk.core.short_lists import list_first
    from ilk.images.rows import escape_path

    names = [escape_path(shlex.quote(str(path))) for path in models]
    count = "1 model" if len(names) == 1 else f"{len(names):,} models"
    return f"{count} ({list_first(names, MAX_NAMED)}); name one: ilk serve {names[0]}"
