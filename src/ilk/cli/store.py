"""`ilk store`: what has been encoded so far."""

from __future__ import annotations

import click


@click.command()
@click.option("--clear", is_flag=True, help="Forget everything, or what --encoder names.")
@click.option("--encoder", help="Only the rows of this encoder.")
def command(clear: bool, encoder: str | None) -> None:
    """Show where the store lies and what it holds; --clear empties it."""
    from ilk.cli.options import table
    from ilk.errors import UnknownName
    from ilk.store import Store

    store = Store()
    names = [space.name for space, _ in store.spaces()]
    if encoder and encoder not in names:
        raise UnknownName("encoder in the store", encoder, names)
    if clear:
        click.echo(f"{store.clear(encoder):,} rows cleared from {store.path}")
        return
    click.echo(f"{store.path} ({store.size() / 1e6:,.1f} MB)")
    rows = [
        (space.name, f"{n:,}", f"{space.dim:,}", space.key[:12])
        for space, n in store.spaces()
        if encoder in (None, space.name)
    ]
    if rows:
        table(("encoder", "images", "columns", "address"), rows)
