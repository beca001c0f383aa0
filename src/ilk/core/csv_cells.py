"""Cells of CSV and TSV files, and what spreadsheets would run as formulas.

A cell that begins with `= + - @`, a tab or a carriage return is a formula to a spreadsheet, unless
it is a number. With `--csv-safe`, an apostrophe before it makes it text; without, the cell is
written as it is, and counted. `unprotect` takes the apostrophe away again, so a cell that begins
with an apostrophe and such a sign of its own always gets another one.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

_FORMULA = re.compile(r"[=+\-@\t\r]")
_PROTECTED = re.compile(r"'+[=+\-@\t\r]")


def is_formula(cell: str) -> bool:
    """Whether a spreadsheet would run the text of a cell.

    >>> [is_formula(cell) for cell in ("=1+1", "-1.5", "-dir/a.png", "cat")]
    [True, False, True, False]
    """
    if not _FORMULA.match(cell):
        return False
    try:
        float(cell)
    except ValueError:
        return True
    return False


def unprotect(cell: str) -> str:
    """Return a cell without the apostrophe that keeps a spreadsheet from running it."""
    return cell[1:] if _PROTECTED.match(cell) else cell


@dataclass
class CsvWriting:
    """How CSV is written at present.

    Attributes:
        safe: Whether an apostrophe is written before what a spreadsheet would run.
        n_formulas: Cells so far that a spreadsheet would run, written as they are.
    """

    safe: bool = False
    n_formulas: int = 0


_WRITING: ContextVar[CsvWriting | None] = ContextVar("csv_writing", default=None)


@contextmanager
def writing_csv(safe: bool) -> Iterator[CsvWriting]:
    """Write CSV so that a spreadsheet runs none of it, or count what it would run."""
    writing = CsvWriting(safe)
    token = _WRITING.set(writing)
    try:
        yield writing
    finally:
        _WRITING.reset(token)


class CsvFormatter:
    """Format lines of CSV or TSV, as `writing_csv` says."""

    def __init__(self, delimiter: str = ",") -> None:
        """Start without a line, with a delimiter between cells."""
        self._writing = _WRITING.get() or CsvWriting()
        self._text = io.StringIO()
        self._writer = csv.writer(self._text, delimiter=delimiter)  # quotes both line breaks

    def format(self, cells: Iterable[Any]) -> str:
        """Return the cells of one line, with a line break at the end."""
        self._text.seek(0)
        self._text.truncate()
        self._writer.writerow([self._protect(c) if isinstance(c, str) else c for c in cells])
        return self._text.getvalue().removesuffix("\r\n") + "\n"

    def _protect(self, cell: str) -> str:
        if _PROTECTED.match(cell):
            return f"'{cell}"
        if not is_formula(cell):
            return cell
        if not self._writing.safe:
            self._writing.n_formulas += 1
            return cell
        return f"'{cell}"


def describe_formulas(n: int) -> str:
    """Return a note on cells that a spreadsheet would run, or ""."""
    if not n:
        return ""
    cells = "1 cell of the table" if n == 1 else f"{n:,} cells of the table"
    return (
        f"{cells} would run as a formula in a spreadsheet; --csv-safe writes an apostrophe before "
        "such text"
    )
