"""Options of the commands that serve a page: where they listen, and who may ask."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import socket

PORT = 8000
MIN_TOKEN_LENGTH = 8
TOKEN_BYTES = 18  # of a generated token


@dataclass(frozen=True)
class Address:
    """Where a page is served, and who may ask.

    Attributes:
        host: Address to listen to.
        port: Port to listen to; 0 takes any that is free.
        token: What requests must carry; "" for none.
        hosts: Further host names under which the server is reached.
    """

    host: str
    port: int
    token: str
    hosts: tuple[str, ...]

    def open_socket(self) -> socket.socket:
        """Return a listening socket.

        Raises:
            OutputError: The port is in use.
            InputError: The address is none of this machine.
        """
        from ilk.serve.run import open_socket

        return open_socket(self.host, self.port)


def make_address(host: str, port: int, token: str | None, hosts: tuple[str, ...]) -> Address:
    """Return an address; one that other machines can reach gets a token if it has none.

    Raises:
        InputError: The token is too short, or holds what an HTTP header cannot.
    """
    from ilk.core.errors import InputError

    if token and len(token) < MIN_TOKEN_LENGTH:
        raise InputError(f"a token needs at least {MIN_TOKEN_LENGTH} characters")
    if token and (not token.isascii() or not token.isprintable() or token != token.strip()):
        raise InputError(
            "a token has letters from a to z, digits and signs, and no spaces around it"
        )
    if not token and not is_loopback(host):
        token = secrets.token_urlsafe(TOKEN_BYTES)
    return Address(host, port, token or "", hosts)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens to `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def add_address_options(f: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for the address, which the command gets as `address`."""

    @wraps(f)
    def command(
        *args: Any, host: str, port: int, token: str | None, hosts: tuple[str, ...], **options: Any
    ) -> Any:
        return f(*args, address=make_address(host, port, token, hosts), **options)

    for option in reversed(ADDRESS_OPTIONS):
        command = option(command)
    return command


ADDRESS_OPTIONS = (
    click.option(
        "--host",
        default="127.0.0.1",
        show_default=True,
        help="Address to listen on. Any address that other machines can reach needs a token; "
        "0.0.0.0 stands for all addresses.",
    ),
    click.option(
        "--port",
        type=click.IntRange(0, 65535),
        default=PORT,
        show_default=True,
        help="Port to listen on; 0 takes any free one.",
    ),
    click.option(
        "--token",
        envvar="ILK_TOKEN",
        help="Secret that every request must carry; generated and printed if one is needed and "
        "none is given. The environment variable ILK_TOKEN is read as well.",
    ),
    click.option(
        "--allow-host",
        "hosts",
        multiple=True,
        help="Additional host name by which the server may be reached; may be repeated.",
    ),
)
