"""Options that several commands share, and tables for the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from ilk.encoders import Embeds
    from ilk.images import Images
    from ilk.store import Store

F = TypeVar("F", bound=Callable[..., Any])


def intake_options(f: F) -> F:
    """How a folder or table is to be read."""
    for option in (
        click.option("--merge-spellings", is_flag=True, help="Take Cat and cat for one class."),
        click.option("--label-column", help="Column of a table that holds the class name."),
        click.option("--path-column", help="Column of a table that holds the image's path."),
        click.option("--strict", is_flag=True, help="Stop if any file is refused."),
    ):
        f = option(f)
    return f


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


def read_images(
    source: str,
    *,
    strict: bool,
    store: Store,
    columns: tuple[str | None, str | None],
    merge_spellings: bool,
    verify: bool,
) -> Images:
    """Read `source`; say what was refused and stop there if `strict`."""
    from ilk.images import empty_folders, read, shown
    from ilk.progress import told

    images = read(
        source,
        path_column=columns[0],
        label_column=columns[1],
        merge_spellings=merge_spellings,
        verify=verify or strict,
        store=store,
        progress=told(),
    )
    if Path(source).is_dir() and (bare := empty_folders(Path(source))):
        told_of = ", ".join(map(shown, bare[:5]))
        click.echo(f"· no file is in {told_of}: no class comes of it", err=True)
    if strict and images.refused:
        show_intake(images)
        click.echo("ilk: stopped, because files were refused and --strict was given", err=True)
        raise click.exceptions.Exit(1)
    return images


def encoded(images: Images, encoder: Embeds, store: Store, *, strict: bool) -> Images:
    """`images` with what could not be decoded refused, which is said; stops there if `strict`."""
    from ilk.encode import fill
    from ilk.progress import told

    images = images.refuse(fill(images, [encoder], store, progress=told()))
    if images.refused:
        show_intake(images)
    if images.refused and strict:
        click.echo("ilk: stopped, because files were refused and --strict was given", err=True)
        raise click.exceptions.Exit(1)
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
