"""`ilk store`: the cache of encoded images."""

from __future__ import annotations

import click

from ilk.cli.output import Result, add_json_option, print_notes, print_table


@click.command()
@click.option("--clear", is_flag=True, help="Delete the cached features.")
@click.option("--encoder", help="Restrict the command to the features of this encoder.")
@add_json_option
def command(clear: bool, encoder: str | None) -> Result:
    """Show where the cache of encoded images is and what it contains; --clear empties it."""
    from ilk.core.errors import UnknownName
    from ilk.store import Store

    store = Store()
    names = [space.name for space, _ in store.list_spaces()]
    if encoder and encoder not in names:
        raise UnknownName("encoder in the store", encoder, names)
    if clear:
        n_cleared = store.clear(encoder)
        click.echo(f"{n_cleared:,} rows cleared from {store.path}")
        return Result({"path": store.path, "rows_cleared": n_cleared})
    size = store.size_on_disk()
    click.echo(f"{store.path} ({size / 1e6:,.1f} MB)")
    print_notes([store.note])
    spaces = [(s, n) for s, n in store.list_spaces() if encoder in (None, s.name)]
    rows = [(s.name, f"{n:,}", f"{s.dim:,}", s.key[:12]) for s, n in spaces]
    if rows:
        print_table(("encoder", "images", "features", "key"), rows)
    encoders = [
        {"encoder": s.name, "images": n, "features": s.dim, "key": s.key} for s, n in spaces
    ]
    return Result({"path": store.path, "bytes": size, "encoders": encoders})
