"""Run a web application until it is stopped."""

from __future__ import annotations

import errno
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import uvicorn

from ilk.core.errors import InputError, OutputError
from ilk.serve.connections import BoundedConnection

STOP_SECONDS = 5  # that requests get to end after the first Ctrl-C
KEEP_ALIVE_SECONDS = 15
BACKLOG = 128  # connections that wait to be accepted


def open_socket(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes any free one.

    Raises:
        InputError: The address is none of this machine, or the port needs privileges.
        OutputError: The port is in use.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, ValueError) as error:  # of a name that no DNS can hold: ValueError
        reason = error.strerror if isinstance(error, OSError) else "it is not a host name"
        raise InputError(f"{host[:100]!r} is not an address of this machine: {reason}") from None
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise OutputError(
                f"port {port} of {host} is in use by another program; choose another one with "
                "--port, or --port 0 for any that is free"
            ) from None
        raise InputError(
            f"cannot listen on port {port} of {host}: {error.strerror}; choose another one with "
            "--host and --port"
        ) from None
    return listener


def format_address(listener: socket.socket) -> str:
    """Return the address of a listening socket as a browser takes it."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def format_token(token: str) -> str:
    """Return what a printed address carries of a token: `?token=…`, or "" without one."""
    return f"?token={quote(token, safe='')}" if token else ""


class StoppableServer(uvicorn.Server):
    """A server for which Ctrl-C is the usual end: its program goes on after it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGINT and SIGTERM, and restore the handlers that were there before."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {n: signal.signal(n, self.handle_exit) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def serve(app: Any, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serve an application until Ctrl-C or SIGTERM; requests under way are finished.

    Raises:
        InputError: As `open_socket`.
        OutputError: As `open_socket`.
    """
    serve_socket(app, open_socket(host, port))


def serve_socket(app: Any, listener: socket.socket) -> None:
    """Serve an application on a listening socket; see `serve`."""
    make_server(app).run(sockets=[listener])


def make_server(app: Any) -> StoppableServer:
    """Return a server that is not yet running."""
    return StoppableServer(
        uvicorn.Config(
            app,
            http=BoundedConnection,
            ws="none",
            loop="asyncio",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=STOP_SECONDS,
            h11_max_incomplete_event_size=64 * 1024,
        )
    )
