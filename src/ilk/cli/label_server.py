"""Serve the labelling page until Ctrl-C, and say what is saved where."""

from __future__ import annotations

import os
import shlex
import sys
import webbrowser
from typing import TYPE_CHECKING, Any

import click

from ilk.cli.address_options import Address
from ilk.cli.output import is_json_wanted, print_notes, show_intake

if TYPE_CHECKING:
    import socket

    from ilk.labelling.session import LabellingSession


def serve_labelling(
    session: LabellingSession,
    source: str,
    listener: socket.socket,
    address: Address,
    open_browser: bool,
) -> dict[str, Any]:
    """Serve the page of a session until Ctrl-C; return what `--json` prints then.

    Args:
        session: The open session.
        source: The folder as the user names it.
        listener: The listening socket.
        address: How it is to be reached.
        open_browser: Whether the page may be opened in a browser.
    """
    from ilk.serve.label_app import create_label_app
    from ilk.serve.run import format_address, format_token, serve_socket

    app = create_label_app(session, token=address.token, hosts=address.hosts)
    page = f"{format_address(listener)}/label{format_token(address.token)}"
    try:
        if session.images.refused:
            show_intake(session.images, err=True)
        print_notes([*session.images.notes, *session.progress().notes])
        click.echo(f"Label {len(session.items):,} images at {page}", err=is_json_wanted())
        click.echo(f"Every answer is saved in {session.log.path}. Ctrl-C stops.", err=True)
        if open_browser and has_display():
            webbrowser.open(page)
        serve_socket(app, listener)
    except KeyboardInterrupt:  # before the server was up
        app.state.server.close()
    progress = session.progress()
    command = shlex.join(_get_arguments() or ["ilk", "label", source])
    click.echo(
        f"ilk: stopped; {progress.n_labelled + progress.n_disputed:,} labelled images are saved in "
        f"{session.log.path}; to continue, run `{command}`",
        err=True,
    )
    return {"log": session.log.path, "progress": progress}


def has_display() -> bool:
    """Whether a browser can open a window: elsewhere, one in the terminal would take it over."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _get_arguments() -> list[str]:
    """Return the command line that was called, without what is secret."""
    context = click.get_current_context(silent=True)
    arguments = context.find_root().obj if context is not None else None
    if not isinstance(arguments, tuple) or "--token" in " ".join(arguments):
        return []
    return ["ilk", *arguments]
