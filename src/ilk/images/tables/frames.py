"""DataFrames as tables: those of pandas, Polars and pyarrow, through what they have in common."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ilk.core.errors import InputError
from ilk.images.rows import Row, escape_path
from ilk.images.tables.read import PATH_COLUMNS, read_records
from ilk.images.tables.requested_columns import Columns, NoteCallback, ignore_note

NAME = "the DataFrame"  # in messages


def is_frame(value: Any) -> bool:
    """Whether `value` has named columns that can be looked up by name."""
    return hasattr(value, "columns") and hasattr(value, "__getitem__") and hasattr(value, "shape")


def list_columns(frame: Any) -> list[str]:
    """Return the names of the columns."""
    names = getattr(frame, "column_names", None)  # `columns` of pyarrow are the values
    return [str(name) for name in (frame.columns if names is None else names)]


def list_values(frame: Any, position: int) -> list[Any]:
    """Return the values of a column as plain objects; paths as text.

    Raises:
        InputError: Another column has the same name.
    """
    names = getattr(frame, "column_names", None)
    name = list(frame.columns if names is None else names)[position]
    column = frame[name]
    if is_frame(column):
        raise InputError(f"{NAME} has several columns called {name!r}; rename them")
    for convert in ("to_pylist", "to_list", "tolist"):
        if hasattr(column, convert):
            values = getattr(column, convert)()
            return [os.fspath(v) if isinstance(v, os.PathLike) else v for v in values]
    return list(column)


def read_frame(frame: Any, columns: Columns, note: NoteCallback = ignore_note) -> list[Row]:
    """Return one row per line of a DataFrame, as `read_table` does; paths start from here.

    Raises:
        InputError: There is no column of paths or labels, or a cell is invalid.
    """
    names = list_columns(frame)
    values = [list_values(frame, position) for position in range(len(names))]
    return read_records(Path(NAME), names, enumerate(zip(*values, strict=True)), columns, note)


def list_paths(frame: Any) -> list[Any]:
    """Return the values of the column of paths.

    Raises:
        InputError: There is none, or a value is missing.
    """
    names = list_columns(frame)
    by_lowercase = {name.strip().casefold(): i for i, name in reversed(list(enumerate(names)))}
    found = next((by_lowercase[name] for name in PATH_COLUMNS if name in by_lowercase), None)
    if found is None:
        shown = ", ".join(map(escape_path, names)) or "none"
        raise InputError(
            f"{NAME} has no column of paths ({', '.join(PATH_COLUMNS)}); its columns are: {shown}; "
            "give the column itself, such as df['photo']"
        )
    values = list_values(frame, found)
    for i, value in enumerate(values):
        if not isinstance(value, str) or not value.strip():
            raise InputError(
                f"{NAME}, line {i}: {value!r} where a path should be; every line needs one"
            )
    return values
