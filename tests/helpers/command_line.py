"""The commands and options of `ilk`, as click knows them."""

from __future__ import annotations

from importlib import import_module

import click

from ilk.cli import COMMANDS


def list_commands() -> dict[str, click.Command]:
    """All commands by name; the commands of a group are listed as `group command`."""
    commands: dict[str, click.Command] = {}
    for name in COMMANDS:
        command = import_module(f"ilk.cli.{name.replace('-', '_')}").command
        if isinstance(command, click.Group):
            commands.update({f"{name} {sub}": c for sub, c in command.commands.items()})
        else:
            commands[name] = command
    return commands


def list_options() -> dict[str, dict[str, click.Option]]:
    """Options by name, and by command."""
    options: dict[str, dict[str, click.Option]] = {}
    for name, command in list_commands().items():
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                options.setdefault(parameter.opts[0], {})[name] = parameter
    return options
