"""`ilk bench`: measure, and write down what was measured."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("name", required=False)
@click.option("--small", is_flag=True, help="A version that ends in seconds; proves it runs.")
@click.option("--out", help="JSON file to write [default: bench/NAME.json].")
def command(name: str | None, small: bool, out: str | None) -> None:
    """Run benchmark NAME, or list the benchmarks."""
    import json

    from ilk.bench import available, measure, question
    from ilk.cli.options import table

    if name is None:
        table(("benchmark", "question"), [(n, question(n).split("\n")[0]) for n in available()])
        return
    told = measure(name, Path(out or f"bench/{name}.json"), small=small)
    click.echo(json.dumps(told["result"], indent=1))
