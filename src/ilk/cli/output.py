"""What commands print: tables for people, and with `--json` one JSON value for programs."""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, is_dataclass
from functools import wraps
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, NoReturn

import click

from ilk.cli.wording import name_options
from ilk.core.terminal_text import escape_line, get_unfiltered

if TYPE_CHECKING:
    from ilk.images import Images


@dataclass(frozen=True)
class Result:
    """The result of a command.

    Attributes:
        value: What `--json` prints: mappings, sequences, dataclasses, arrays and plain values.
        exit_code: The exit code of the command.
    """

    value: Any
    exit_code: int = 0


def is_json_wanted() -> bool:
    """Whether the command that runs prints its result as JSON."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.params.get("as_json"))


def add_json_option(f: Callable[..., Result]) -> Callable[..., None]:
    """Add `--json` to a command: its result as JSON, and nothing else, on standard output.

    Text and tables that the command would print to standard output are dropped; warnings and
    errors still go to standard error.
    """

    @wraps(f)
    def command(*args: Any, as_json: bool, **options: Any) -> None:
        if as_json:
            with redirect_stdout(io.StringIO()):
                result = f(*args, **options)
            click.echo(format_json(result.value))
        else:
            result = f(*args, **options)
        if result.exit_code:
            raise click.exceptions.Exit(result.exit_code)

    option = click.option(
        "--json", "as_json", is_flag=True, help="Print the result as JSON instead of text."
    )
    return option(command)


def format_json(value: Any) -> str:
    """Format a value as indented ASCII JSON; nan and infinity become null."""
    return json.dumps(to_plain(value), indent=1, allow_nan=False)


def to_plain(value: Any) -> Any:
    """Convert dataclasses, mappings, sequences, arrays and paths to what JSON can express."""
    if is_dataclass(value) and not isinstance(value, type):
        return to_plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):  # a NumPy array or scalar
        return to_plain(value.tolist())
    if isinstance(value, PathLike):
        return fspath(value)
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [to_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]], *, err: bool = False) -> None:
    """Print a table that fits the terminal, with columns of numbers aligned to the right.

    Args:
        head: Column titles.
        rows: Cells, one sequence per row, as long as `head`.
        err: Print to standard error instead of standard output.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    out = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    body = [[escape_line(cell) for cell in row] for row in rows]
    for i, name in enumerate(head):
        cells = [row[i].lstrip("+-") for row in body if row[i] not in ("", "–")]
        numeric = bool(body) and all(cell[:1].isdigit() for cell in cells)
        if cells and all(any(c.isalpha() for c in cell) for cell in cells):
            numeric = False  # names that begin with digits
        out.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in body:
        out.add_row(*row)
    stream = sys.stderr if err else sys.stdout
    width = None if stream.isatty() else 120
    console = Console(file=get_unfiltered(stream), markup=False, highlight=False, width=width)
    console.print(out)  # whose cells are escaped


def print_note(text: str) -> None:
    """Print a remark below a table."""
    click.echo(f"· {escape_line(name_options(text))}")


def show_intake(images: Images, *, err: bool = False) -> None:
    """Print the number of used and refused files per reason, with one example each."""
    print_table(
        ("files", "count", "example"),
        [(what, f"{count:,}", example) for what, count, example in images.summarize()],
        err=err,
    )


def print_notes(notes: Sequence[str]) -> None:
    """Print what there is to know about a source to standard error; "" is nothing."""
    for note in filter(None, notes):
        click.echo(f"· {escape_line(name_options(note))}", err=True)


def exit_refused(images: Images) -> NoReturn:
    """Print the refused files to standard error and exit with code 1, because of `--strict`."""
    show_intake(images, err=True)
    click.echo("ilk: stopped because files were refused and --strict was given", err=True)
    raise click.exceptions.Exit(1)
