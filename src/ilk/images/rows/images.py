"""`Images`: the rows of all files of a source, in a fixed order."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from ilk.core.atomic_write import write_atomically
from ilk.core.errors import ArtifactError, NoImages
from ilk.images.rows.addresses import is_address
from ilk.images.rows.refused import ImageError
from ilk.images.rows.row import (
    REASONS,
    Content,
    Row,
    escape_path,
    refuse_row,
    row_from_json,
    row_to_json,
)


@dataclass(frozen=True)
class Images:
    """Every file of a source, in a fixed order, with its intake result.

    Attributes:
        root: The folder that paths are relative to; None if they are used as given.
        rows: One per file, sorted by path; for a table or list, one per line, in its order.
        contents: Images that are in memory, by the digest of their row. The path of such a row
            is not that of a file but its place in the list, such as `image 3` for the fourth. Files
            of an archive are read from it when they are looked up, which may raise ImageError.
        notes: What was read differently from what may be expected, and what was left out, one
            sentence each.
        folders: Folders all of whose files were listed. What ilk writes must not lie in them.
        hint: The folder or table that was probably meant instead of this one, as a question; "" if
            none is known.
        value_ranges: Stored values that are black and white in images of more than 8 bits, by kind
            (see `ilk.images.value_ranges.value_range`); empty if there are no such images.
    """

    root: Path | None
    rows: tuple[Row, ...]
    contents: Mapping[str, Content] = field(default_factory=dict, compare=False, repr=False)
    notes: tuple[str, ...] = ()
    folders: tuple[Path, ...] = field(default=(), compare=False, repr=False)
    hint: str = ""
    value_ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict, compare=False)

    @cached_property
    def used(self) -> tuple[Row, ...]:
        """Rows that can be used, labelled or not."""
        return tuple(row for row in self.rows if row.status == "used")

    @cached_property
    def refused(self) -> tuple[Row, ...]:
        """Rows that cannot be used, system files excluded."""
        return tuple(row for row in self.rows if row.status == "refused")

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes or labels with at least one used image, sorted."""
        return tuple(sorted({name for row in self.used for name in row.names}))

    @cached_property
    def is_multi_label(self) -> bool:
        """Whether the source gives a set of labels per image."""
        return any(row.labels is not None for row in self.rows)

    def path_of(self, row: Row) -> Path:
        """Return the path of the file of `row`; the pages of a file share it."""
        return self._join(row.file_path)

    def shown_path_of(self, row: Row) -> Path:
        """Return the path of `row` for display: of a page, that of the file and its number."""
        return self._join(row.path)

    def _join(self, path: str) -> Path:
        is_whole = self.root is None or is_address(path)
        return Path(path) if is_whole or self.root is None else self.root / path

    def source_of(self, row: Row) -> Path | Content:
        """Return the image of `row` if it is in memory, else the path of its file."""
        content = self.contents.get(row.digest)
        return self.path_of(row) if content is None else content

    def find_content(self, path: Path) -> Content | None:
        """Return the image in memory whose row has this path, or None; b"" if it is gone."""
        try:
            return self.contents.get(self._digests_in_memory.get(path.as_posix(), ""))
        except ImageError:
            return b""

    def find_special_row(self, path: Path) -> Row | None:
        """Return the row with this path if its file alone does not say how it is read."""
        return self._special_rows.get(path.as_posix())

    @cached_property
    def _special_rows(self) -> dict[str, Row]:
        return {
            self.shown_path_of(row).as_posix(): row
            for row in self.rows
            if row.page or row.value_range
        }

    @cached_property
    def _digests_in_memory(self) -> dict[str, str]:
        return {
            self.path_of(row).as_posix(): row.digest
            for row in self.rows
            if row.digest in self.contents
        }

    def select_split(self, split: str) -> Images:
        """Return the rows of one split: "train", "val" or "test"."""
        return replace(self, rows=tuple(row for row in self.rows if row.split == split))

    def check_not_empty(self) -> None:
        """Raise NoImages if no file can be used; the message gives the reasons."""
        if not self.used:
            raise NoImages("no file could be used: " + ", ".join(x for x, _, _ in self.summarize()))

    def refuse(self, failures: Mapping[str, tuple[str, str]]) -> Images:
        """Refuse used rows by content: digest to (reason, detail). No row is moved or removed."""
        if not failures:
            return self
        return replace(self, rows=tuple(refuse_row(row, failures) for row in self.rows))

    def count_rows(self) -> dict[str, Any]:
        """Count rows by status, reason, class and split."""
        status = Counter(row.status for row in self.rows)
        return {
            "files": len(self.rows),
            **{name: status[name] for name in ("used", "refused", "ignored")},
            "labelled": sum(row.label is not None for row in self.used),
            "reasons": dict(Counter(row.reason for row in self.rows if row.reason)),
            "classes": dict(sorted(Counter(name for r in self.used for name in r.names).items())),
            "splits": dict(Counter(row.split for row in self.used)),
        }

    def summarize(self) -> list[tuple[str, int, str]]:
        """Return (status or reason, count, example) for each outcome, used first."""
        groups: dict[str, list[Row]] = {}
        for row in self.rows:
            groups.setdefault(row.reason or row.status, []).append(row)
        order = {what: i for i, what in enumerate(("used", *REASONS))}
        return [
            (what, len(groups[what]), escape_path(" ".join(filter(None, (row.path, row.detail)))))
            for what in sorted(groups, key=lambda what: order.get(what, len(order)))
            for row in groups[what][:1]
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the intake report as plain values; empty fields of a row are omitted."""
        root = None if self.root is None else str(self.root)
        return {
            "root": root,
            **({"value_ranges": dict(self.value_ranges)} if self.value_ranges else {}),
            "counts": self.count_rows(),
            **({"notes": list(self.notes)} if self.notes else {}),
            "rows": [row_to_json(row) for row in self.rows],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Images:
        """Restore from the result of `to_json`.

        Raises:
            ArtifactError: It is not an intake report.
        """
        try:
            root = None if data["root"] is None else Path(data["root"])
            rows = tuple(row_from_json(record) for record in data["rows"])
            notes = tuple(str(note) for note in data.get("notes", ()))
            ranges = {str(k): (float(a), float(b)) for k, (a, b) in _items(data, "value_ranges")}
            return cls(root, rows, notes=notes, value_ranges=ranges)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise ArtifactError(
                f"this is not an intake report of ilk ({error}); create it again"
            ) from None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `intake.json`: plain ASCII, one row per line, so that two can be compared.

        Raises:
            OutputError: The file cannot be written.
        """
        report = self.to_json()
        rows = ",\n".join(json.dumps(row) for row in report["rows"])
        head_fields = {name: value for name, value in report.items() if name != "rows"}
        head = "{" + "".join(f'"{k}": {json.dumps(v)},\n' for k, v in head_fields.items())
        write_atomically(Path(path), f'{head}"rows": [\n{rows}\n]}}\n'.encode("ascii"))


def _items(data: Mapping[str, Any], name: str) -> Iterable[tuple[str, Any]]:
    return cast("Iterable[tuple[str, Any]]", data.get(name, {}).items())
