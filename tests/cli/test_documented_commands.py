"""Commands and options that documentation and messages name exist."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from helpers.command_line import list_options
from ilk.cli import COMMANDS, LazyGroup

ROOT = Path(__file__).parents[2]
GENERAL = {"--help", "--version"}
OTHER_PROGRAMS = {
    "--nproc-per-node",
    "--max-restarts",
    "--revision",
    "--force-reinstall",
    "--head",
}  # of torchrun, ray, hf and pip
COMMAND = re.compile(r"^\$? ?ilk (?P<rest>[a-z][a-z-]*( .*)?)$")


def read_readme_commands() -> list[str]:
    """Command lines in code blocks and code spans of the README."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.partition("  #")[0] for line in text.split("\n") if line.startswith("$ ilk ")]
    spans = [span for span in re.findall(r"`([^`\n]+)`", text) if COMMAND.match(span)]
    return [re.sub(r"\s+", " ", line).strip() for line in dict.fromkeys([*lines, *spans])]


def parse_command(args: list[str]) -> click.Context:
    """Parse a command line without running it; raises click.UsageError if it is not valid."""
    root = click.Context(LazyGroup("ilk"), info_name="ilk")
    command = root.command
    name, *rest = args
    assert isinstance(command, LazyGroup)
    found = command.get_command(root, name)
    assert found is not None, name
    if isinstance(found, click.Group) and rest:
        found, rest = found.commands[rest[0]], rest[1:]
    return found.make_context(name, rest, parent=root)


@pytest.mark.parametrize("line", read_readme_commands())
def test_every_command_of_the_readme_is_valid(line: str) -> None:
    match = COMMAND.match(line)
    assert match is not None
    args = shlex.split(match["rest"])
    if len(args) > 1:
        parse_command(args)
    else:  # mentioned by its name alone
        assert args[0] in COMMANDS


def find_options(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+[a-z0-9]", text))


def read_strings() -> Iterator[tuple[str, str]]:
    """All string literals of the package, docstrings included, with their files."""
    for path in sorted((ROOT / "src" / "ilk").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield path.relative_to(ROOT).as_posix(), node.value


def test_every_option_in_a_message_or_page_exists() -> None:
    options = [option for by_command in list_options().values() for option in by_command.values()]
    names = (
        {name for option in options for name in (*option.opts, *option.secondary_opts)}
        | GENERAL
        | OTHER_PROGRAMS
    )
    unknown = {
        f"{path}: {option}"
        for path, text in read_strings()
        if "://" not in text and not text.lstrip().startswith(("<", ":root"))
        for option in find_options(text) - names
    }
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    unknown |= {f"README.md: {option}" for option in find_options(readme) - names}
    assert not unknown


def test_every_complete_command_in_a_message_is_valid() -> None:
    commands = {
        command
        for _, text in read_strings()
        for command in re.findall(r"\bilk ([a-z ]+ [A-Z][A-Z ]* --out \w+)", text)
    }
    assert len(commands) >= 4
    for command in commands:
        parse_command(command.split())
