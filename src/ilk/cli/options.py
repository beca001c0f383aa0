"""Options that several commands share, and tables for the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

import click

if TYPE_CHECKING:
    from ilk.encoders import Embeds
    from ilk.images import Images
    from ilk.store import Store

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Intake:
    """How a folder or table is to be read, as it was typed.

    Attributes:
        strict: Stop if any file is refused.
        path_column, label_column: Of a table; None where its usual names will do.
        merge_spellings: Take names that differ only in spelling for one class.
    """

    strict: bool = False
    path_column: str | None = None
    label_column: str | None = None
    merge_spellings: bool = False

    def read(self, source: str, store: Store, *, verify: bool = False) -> Images:
        """The images of `source`; says what was refused and stops there if `strict`."""
        from ilk.images import empty_folders, read, shown
        from ilk.progress import told

        images = read(
            source,
            path_column=self.path_column,
            label_column=self.label_column,
            merge_spellings=self.merge_spellings,
            verify=verify or self.strict,
            store=store,
            progress=told(),
        )
        if Path(source).is_dir() and (bare := empty_folders(Path(source))):
            told_of = ", ".join(map(shown, bare[:5]))
            click.echo(f"· no file is in {told_of}: no class comes of it", err=True)
        if self.strict and images.refused:
            show_intake(images)
            _stopped()
        return images


def intake_options(f: F) -> F:
    """The options of an `Intake`, handed to the command as `intake`."""

    @wraps(f)
    def command(*args: Any, **given: Any) -> Any:
        intake = Intake(**{field.name: given.pop(field.name) for field in fields(Intake)})
        return f(*args, intake=intake, **given)

    for option in (
        click.option("--merge-spellings", is_flag=True, help="Take Cat and cat for one class."),
        click.option("--label-column", help="Column of a table that holds the class name."),
        click.option("--path-column", help="Column of a table that holds the image's path."),
        click.option("--strict", is_flag=True, help="Stop if any file is refused."),
    ):
        command = option(command)
    return cast(F, command)


def network_options(f: F) -> F:
    """Where and how a network runs."""
    for option in (
        click.option(
            "--runtime",
            default="torch",
            show_default=True,
            help="torch, channels-last or openvino: the same features, other speeds.",
        ),
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, mps."),
    ):
        f = option(f)
    return f


def _stopped() -> NoReturn:
    click.echo("ilk: stopped, because files were refused and --strict was given", err=True)
    raise click.exceptions.Exit(1)


def encoded(images: Images, encoder: Embeds, store: Store, *, strict: bool) -> Images:
    """`images` with what could not be decoded refused, which is said; stops there if `strict`."""
    from ilk.encode import fill
    from ilk.progress import told

    images = images.refuse(fill(images, [encoder], store, progress=told()))
    if images.refused:
        show_intake(images)
    if images.refused and strict:
        _stopped()
    return images


def sentences(path: str) -> tuple[str, ...]:
    """The lines of a text file that hold something.

    Raises:
        InputError: It cannot be read, is no text, or holds nothing.
    """
    from ilk.errors import InputError

    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise InputError(f"{path} cannot be read: {why}; give a text file, one a line") from error
    told = tuple(line.strip() for line in lines if line.strip())
    if not told:
        raise InputError(f"{path} holds no sentence; write one a line")
    return told


def show_intake(images: Images) -> None:
    """The intake as a table: what became of the files, how many, and one of them."""
    table(
        ("files", "count", "for example"),
        [(what, f"{count:,}", example) for what, count, example in images.summary()],
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, err: bool = False) -> None:
    """A table that fits the terminal; numbers to the right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    out = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    body = [[printable(cell) for cell in row] for row in rows]
    for i, name in enumerate(head):
        cells = [row[i].lstrip("+-") for row in body if row[i] not in ("", "–")]
        numeric = bool(body) and all(cell[:1].isdigit() for cell in cells)
        out.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in body:
        out.add_row(*row)
    stream = sys.stderr if err else sys.stdout
    width = None if stream.isatty() else 120
    Console(file=stream, markup=False, highlight=False, width=width).print(out)


def printable(text: str) -> str:
    """Text that any terminal takes: undecodable bytes and control characters are escaped."""
    shown = text.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in shown)


def out_path(value: str) -> Path | None:
    """`-` is standard output."""
    return None if value == "-" else Path(value)
