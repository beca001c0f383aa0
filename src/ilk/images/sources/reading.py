"""How sources are read: column names and patterns given by the user, and the notes that arise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ilk.images.rows import Row
from ilk.images.sources import layout
from ilk.images.sources.exclude import Exclusion
from ilk.images.tables import read as tables


@dataclass(frozen=True)
class Reading:
    """How the sources of one call are read.

    Attributes:
        columns: Column names given by the user.
        exclusion: Patterns of files that are left out.
        notes: What was read differently from what may be expected, in the order it was found.
    """

    columns: tables.Columns = field(default_factory=tables.Columns)
    exclusion: Exclusion = field(default_factory=Exclusion)
    notes: list[str] = field(default_factory=list)

    def read_folder(
        self,
        root: Path,
        files: Sequence[Row] | None = None,
        open_table: Callable[[Path], Path] = lambda path: path,
    ) -> list[Row]:
        """Return the rows of a folder, as `ilk.images.sources.layout.read_folder`."""
        return layout.read_folder(
            root, self.columns, files, open_table, self.notes.append, self.exclusion
        )

    def read_table(self, file: Path) -> list[Row]:
        """Return the rows of a table, as `ilk.images.tables.read.read_table`."""
        return self.exclusion.apply(tables.read_table(file, self.columns, self.notes.append))
