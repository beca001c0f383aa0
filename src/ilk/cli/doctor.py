"""`ilk doctor`: what is here and what is not."""

from __future__ import annotations

import click


@click.command()
def command() -> None:
    """Say what is installed, which device is used, which encoders are ready offline."""
    from ilk.cli.options import table
    from ilk.doctor import examine

    table(("what", "state", "detail"), examine())
