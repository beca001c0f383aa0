"""`ilk methods`: what can be typed after --method."""

from __future__ import annotations

from dataclasses import fields

import click


@click.command()
@click.argument("name", required=False)
def command(name: str | None) -> None:
    """List the methods, or show the file of one with its fields and defaults."""
    from inspect import getmodule

    from ilk.cli.options import table
    from ilk.methods import available, parse

    if name is None:
        rows = []
        for key, form in available().items():
            first = (getmodule(form).__doc__ or "").strip().splitlines()[0]
            rows.append((key, first))
        table(("method", "what it does"), rows)
        return
    method = parse(name)
    form = available()[type(method).__name__]
    click.echo((getmodule(form).__doc__ or "").strip())
    told = [(f.name, repr(getattr(method, f.name))) for f in fields(form)]
    if told:
        table(("field", "value"), told)
