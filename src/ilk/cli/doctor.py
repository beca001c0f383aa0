"""`ilk doctor`: what is installed and what is missing."""

from __future__ import annotations

import click

from ilk.cli.output import Result, add_json_option, print_table


@click.command()
@add_json_option
def command() -> Result:
    """Show installed packages, device, encoders that work offline, and the speed of encoding."""
    from ilk.doctor import check_installation, check_speed

    findings = [*check_installation(), *check_speed()]
    print_table(("component", "state", "detail"), findings)
    names = ("component", "state", "detail")
    return Result([dict(zip(names, finding, strict=True)) for finding in findings])
