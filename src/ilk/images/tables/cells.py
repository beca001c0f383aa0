"""Cells of a table: empty ones, text in another encoding, and paths as this system writes them."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ilk.core.csv_cells import unprotect
from ilk.core.errors import InputError
from ilk.images.annotations.label_values import is_missing
from ilk.images.rows import Row, escape_path
from ilk.images.rows.addresses import is_address
from ilk.images.tables.files import Record
from ilk.images.tables.requested_columns import NoteCallback
from ilk.images.tables.text_encoding import decode_windows, describe_decoded, has_undecoded


def select_cells(cells: Sequence[Any], indices: Sequence[int | None]) -> list[Any]:
    """Return the cells of some columns, None where a line is too short or there is no column."""
    return [None if i is None or i >= len(cells) else cells[i] for i in indices]


def is_empty(cell: Any) -> bool:
    """Whether a cell is a missing value, or holds nothing but spaces."""
    return not cell.strip() if isinstance(cell, str) else is_missing(cell)


def unprotect_cells(records: list[Record], path: int) -> list[Record]:
    """Return the records without apostrophes that keep a spreadsheet from running cells."""
    return [
        (n, [unprotect(c) if i != path else c for i, c in enumerate(cells)])
        if "'" in "".join(cells)
        else (n, cells)
        for n, cells in records
    ]


def decode_cells(source: str, records: list[Record], path: int, note: NoteCallback) -> list[Record]:
    """Return the records with text that is not UTF-8 decoded; paths keep their bytes."""
    pairs: list[tuple[str, str]] = []

    def decode(column: int, cell: Any) -> Any:
        if column == path or not has_undecoded(cell):
            return cell
        pairs.append((cell, decode_windows(cell)))
        return pairs[-1][1]

    decoded: list[Record] = [
        (n, [decode(i, cell) for i, cell in enumerate(cells)])
        if has_undecoded("".join([cell for cell in cells if isinstance(cell, str)]))
        else (n, cells)
        for n, cells in records
    ]
    text = describe_decoded(pairs)
    note(f"{source} {text}" if text else "")
    return decoded if pairs else records


def parse_row(file: Path, number: int, cells: list[Any]) -> Row:
    """Return the row of a line of `file`, whose only cell is the path of an image.

    Raises:
        InputError: The cell is not a path.
    """
    (path,) = cells
    if not isinstance(path, str) or not path.strip():
        content = "an image itself" if isinstance(path, dict) else repr(path)
        raise InputError(
            f"{escape_path(file)}, line {number}: {content} where a path should be; "
            "every line needs the path of a file"
        )
    return Row(to_native_path(path, file.parent))


def to_native_path(path: str, folder: Path) -> str:
    r"""Convert a path to the form of this system.

    A table made on Windows has `cat\1.png`, others have spaces after commas, another encoding, or
    an apostrophe before `=`; all are valid file names elsewhere, so the path is changed only if no
    such file exists.
    """
    if is_address(path.strip()):
        return path.strip()
    native = path.replace("\\", "/").strip()
    other = unprotect(decode_windows(native))
    if other == path or (os.name != "nt" and os.path.exists(folder / path)):
        return posixpath.normpath(path)
    is_other = other != native and os.path.exists(folder / other)
    return posixpath.normpath(other if is_other else native)
