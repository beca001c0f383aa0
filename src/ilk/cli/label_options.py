"""Options of `ilk label`: where the page is served, and what is written without a page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import socket

PORT = 8000


@dataclass(frozen=True)
class Address:
    """Where the page is served.

    Attributes:
        host: Address to listen to.
        port: Port to listen to; 0 takes any that is free.
        token: What requests must carry; "" for none.
        hosts: Further host names under which the server is reached.
        open_browser: Whether the page may be opened in a browser.
    """

    host: str
    port: int
    token: str
    hosts: tuple[str, ...]
    open_browser: bool

    def open_socket(self) -> socket.socket:
        """Return a listening socket.

        Raises:
            OutputError: The port is in use.
            InputError: The address is none of this machine.
        """
        from ilk.serve.run import open_socket

        return open_socket(self.host, self.port)


@dataclass(frozen=True)
class LabelOutput:
    """What is written instead of serving the page.

    Attributes:
        status: Whether the progress is printed.
        csv: File for a table of labels, or None.
        folder: Folder for copies of the labelled images, or None.
        model: Folder for a model, or None.
    """

    status: bool
    csv: str | None
    folder: str | None
    model: str | None

    @property
    def is_wanted(self) -> bool:
        """Whether anything is to be written."""
        return self.status or any((self.csv, self.folder, self.model))


def add_address_options(f: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for the address of the page."""

    @wraps(f)
    def command(
        *args: Any,
        host: str,
        port: int,
        token: str | None,
        hosts: tuple[str, ...],
        browser: bool,
        **options: Any,
    ) -> Any:
        from ilk.serve.tokens import choose_token

        address = Address(host, port, choose_token(token, host), hosts, browser)
        return f(*args, address=address, **options)

    for option in (
        click.option(
            "--no-browser",
            "browser",
            is_flag=True,
            flag_value=False,
            default=True,
            help="Only print the address of the page.",
        ),
        click.option(
            "--allow-host",
            "hosts",
            multiple=True,
            help="Further host name under which the server is reached; may be repeated.",
        ),
        click.option(
            "--token",
            envvar="ILK_TOKEN",
            help="Secret that every request must carry; generated and printed where one "
            "is needed and none is given. The environment variable ILK_TOKEN is read as "
            "well.",
        ),
        click.option(
            "--port",
            type=click.IntRange(0, 65535),
            default=PORT,
            show_default=True,
            help="Port to listen to; 0 takes any that is free.",
        ),
        click.option(
            "--host",
            default="127.0.0.1",
            show_default=True,
            help="Address to listen to. Any other than this machine's own needs a token; "
            "0.0.0.0 is every address.",
        ),
    ):
        command = option(command)
    return command


def add_output_options(f: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for what is written without a page."""

    @wraps(f)
    def command(
        *args: Any,
        status: bool,
        csv: str | None,
        folder: str | None,
        model: str | None,
        **options: Any,
    ) -> Any:
        return f(*args, output=LabelOutput(status, csv, folder, model), **options)

    for option in (
        click.option(
            "--export-model",
            "model",
            metavar="MODEL",
            help="Fit a classifier to the labels, write the model folder MODEL and stop.",
        ),
        click.option(
            "--export-folder",
            "folder",
            metavar="FOLDER",
            help="Copy the labelled images to FOLDER, one sub-folder per class, and stop.",
        ),
        click.option(
            "--export-csv",
            "csv",
            metavar="FILE",
            help="Write a table of the labels, which ilk fit reads, and stop.",
        ),
        click.option("--status", is_flag=True, help="Print the progress and stop."),
    ):
        command = option(command)
    return command
