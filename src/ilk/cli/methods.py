"""`ilk methods`: the methods that `--method` accepts."""

from __future__ import annotations

from dataclasses import fields
from inspect import getdoc, getmodule

import click

from ilk.cli.output import Result, add_json_option, print_table


@click.command()
@click.argument("name", required=False)
@add_json_option
def command(name: str | None) -> Result:
    """List the methods, or describe method NAME and show its parameters."""
    from ilk.methods import list_methods, parse

    if name is None:
        summaries = {key: read_doc(kind).split("\n")[0] for key, kind in list_methods().items()}
        print_table(("method", "description"), list(summaries.items()))
        return Result([{"method": key, "description": text} for key, text in summaries.items()])
    method = parse(name)
    text = read_doc(type(method))
    parameters = {
        f.name: getattr(method, f.name) for f in fields(list_methods()[type(method).__name__])
    }
    click.echo(text)
    if parameters:
        print_table(
            ("parameter", "value"), [(key, repr(value)) for key, value in parameters.items()]
        )
    values = {key: repr(value) for key, value in parameters.items()}
    return Result({"method": type(method).__name__, "description": text, "parameters": values})


def read_doc(method_class: type) -> str:
    """Return the docstring of the module that defines `method_class`."""
    return getdoc(getmodule(method_class)) or ""
