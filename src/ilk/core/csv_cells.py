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
from collections.abc import Iterable
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


class CsvFormatter:
    """Format lines of CSV or TSV.

    Attributes:
        n_formulas: Cells so far that a spreadsheet would run, written as they are.
    """

    def __init__(self, delimiter: str = ",", safe: bool = False) -> None:
        """Start without a line.

        Args:
            delimiter: Between cells.
            safe: Write an apostrophe before what a spreadsheet would run.
        """
        self.safe, self.n_formulas = safe, 0
        self._text = io.StringIO()
        self._writer = csv.writer(self._text, delimiter=delimiter, lineterminator="\n")

    def format(self, cells: Iterable[Any]) -> str:
        """Return the cells of one line, with a line break at the end."""
        self._text.seek(0)
        self._text.truncate()
        self._writer.writerow([self._protect(c) if isinstance(c, str) else c for c in cells])
        return self._text.getvalue()

    def _protect(self, cell: str) -> str:
        if _PROTECTED.match(cell):
            return f"'{cell}"
        if not is_formula(cell):
            return cell
        self.n_formulas += not self.safe
        return f"'{cell}" if self.safe else cell


def describe_formulas(n: int, file: str) -> str:
    """Return a note on cells that a spreadsheet would run, or ""."""
    if not n:
        return ""
    cells = "1 cell" if n == 1 else f"{n:,} cells"
    return (
        f"{cells} of {file} would run as formulas in a spreadsheet; --csv-safe writes an "
        "apostrophe before them"
    )
