"""Which columns the user names, and where they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from ilk.core.errors import InputError
from ilk.images.rows import escape_path
from ilk.images.tables.columns import (
    find_usual,
)

NoteCallback = Callable[[str], None]


def ignore_note(_note: str) -> None:
    """Drop a note, which is "" if there is nothing to say."""


class Columns(NamedTuple):
    """How the user wants a table to be read.

    Attributes:
        path: Column of paths; None selects one of the usual names.
        label: Column of labels; None selects one of the usual names, "none" reads no labels.
        multi_label: Whether an image has a set of labels; None refuses tables that look like it.
        separator: Separator of labels in one cell; None finds it.
        split: Column that says what is held out (see `ilk.images.annotations.split_columns`); None
            finds it.
        group: Column of groups; None reads none.
    """

    path: str | None = None
    label: str | None = None
    multi_label: bool | None = None
    separator: str | None = None
    split: str | None = None
    group: str | None = None

    @property
    def is_given(self) -> bool:
        """Whether the user said anything about columns."""
        names = (self.path, self.label, self.separator, self.split, self.group)
        return self.multi_label is True or any(name is not None for name in names)


def find_column(
    file: Path, names: list[str], what: str, default_names: Sequence[str], requested: str | None
) -> int:
    """Return the position of column `requested`, or of the first of `default_names` present."""
    if requested is not None and requested.strip() in names:
        return names.index(requested.strip())
    if requested is None and (usual := find_usual(names, default_names)) is not None:
        return usual
    available = ", ".join(escape_path(name) for name in names) or "none"
    problem = (
        f"no column {requested!r}"
        if requested
        else f"no column of {what}s ({', '.join(default_names)})"
    )
    raise InputError(
        f"{escape_path(file)} has {problem}; its columns are: {available}. "
        f"Name one with {what}_column= (--{what}-column){', or none' if what == 'label' else ''}"
    )
