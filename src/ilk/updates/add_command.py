"""The command that adds a suggested group to the classifier."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ilk.updates.discover import Discovery

PLACEHOLDER = "NAME"


def build_add_command(discovery: Discovery, number: int, model: str, out: str) -> str:
    """Return the command that adds a group under its suggested name, or `NAME` without one.

    Groups with the same suggested name become one class, so that one command adds them all: a
    second one would add to a class that the model then has.

    Args:
        discovery: The groups.
        number: Number of the group.
        model: Path of the model.
        out: Folder of the groups.
    """
    suggestion = discovery.names.get(number)
    numbers = [number]
    if suggestion:
        numbers = [g for g in sorted(discovery.names) if discovery.names[g].name == suggestion.name]
    name = suggestion.name if suggestion else PLACEHOLDER
    words = ["ilk", "add", model]
    for group in numbers:
        words += ["--class-images", name, f"{out.rstrip('/')}/group-{group}"]
    return shlex.join(words)
