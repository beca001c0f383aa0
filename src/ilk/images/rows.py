"""`Row` and `Images`: the intake result of every file."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ilk.core.atomic_write import write_atomically
from ilk.core.errors import ArtifactError, NoImages
from ilk.core.typed_values import check_type
from ilk.images.refused import ImageError

Content = bytes | Image.Image | NDArray[np.uint8]
"""An image in memory: the bytes of a file, a Pillow image, or an array `[h, w]` or `[h, w, c]`."""

SplitName = Literal["train", "val", "test"]
Status = Literal["used", "refused", "ignored"]

REASONS = {
    "empty": "no bytes",
    "truncated": "the file ends too early",
    "not an image": "none of the formats that are read, such as JPEG, PNG, WebP and TIFF",
    "too large": "more pixels than allowed, according to the header",
    "unreadable": "no permission, corrupt, or of an unsupported kind",
    "missing": "listed, but the file does not exist",
    "duplicate": "the same bytes or pixels as another file, which is used",
    "same content under two labels": "the same bytes or pixels with different labels; none of "
    "them is used",
    "in both train and test": "the same bytes or pixels are in the test split, where they stay",
    "group in both train and test": "the test split has images of its group, which stay there",
    "excluded": "left out by a pattern of --exclude",
    "system file": "created by the operating system or a tool",
    "label table": "the table that the labels came from",
}
"""Why a row is refused or ignored, and what that means."""
DECODED = {
    "same content under two labels",
    "in both train and test",
    "group in both train and test",
    "excluded",
}
"""Reasons that say nothing against the format of a file."""


@dataclass(frozen=True, slots=True)
class Row:
    """One file, or one line of a table.

    Attributes:
        path: As found, with `/` as separator, relative to `Images.root` if there is one; bytes that
            are not UTF-8 become lone surrogates (PEP 383).
        label: Class name, None if unknown; of several labels, their names joined by "; ".
        split: "train", "val" or "test"; "train" if there are no splits.
        status: "used"; "refused"; "ignored" for system files (`.DS_Store`).
        reason: One of `REASONS`, "" if used.
        detail: Details, such as which file it duplicates.
        digest: SHA-256 of the bytes, hex; "" if not read.
        width: Pixels, as stored (before the EXIF orientation); 0 if unknown.
        height: As `width`.
        mode: Pillow's mode, such as "RGB" or "I;16".
        format: "JPEG", "PNG", …
        size: Bytes.
        labels: Names of the labels of a multi-label source, sorted, () if none applies; None if
            unknown or the source has one label per image.
        group: Name of the group (a patient, a video) that it belongs to; None if it is on its own.
        pixel_digest: SHA-256 of the decoded pixels, hex (`ilk.images.pixel_summary`); "" if the
            image is not decoded.
        taken: When the picture was taken, as its EXIF says, such as "2024:05:31 17:02:59"; "" if
            unknown.
        camera: Maker and model of the camera, as its EXIF says; "" if unknown.
        page: Number of the page or frame in its file, from 1; 0 if the file is read as one image.
            The path of a page ends in its number, as in `scan.tif[2]`.
        n_pages: Number of pages of a file with several; 0 for one.
        value_range: Stored values that are black and white, for more than 8 bits; None if only the
            file decides.
    """

    path: str
    label: str | None = None
    split: str = "train"
    status: str = "used"
    reason: str = ""
    detail: str = ""
    digest: str = ""
    width: int = 0
    height: int = 0
    mode: str = ""
    format: str = ""
    size: int = 0
    labels: tuple[str, ...] | None = None
    group: str | None = None
    pixel_digest: str = ""
    taken: str = ""
    camera: str = ""
    page: int = 0
    n_pages: int = 0
    value_range: tuple[float, float] | None = None

    @property
    def file_path(self) -> str:
        """The path of the file, without the number of the page."""
        return self.path.removesuffix(f"[{self.page}]") if self.page else self.path

    @property
    def reading(self) -> dict[str, Any]:
        """How the file is decoded: the keywords `page` and `value_range` of `decode`."""
        return {"page": self.page, "value_range": self.value_range}

    @property
    def names(self) -> tuple[str, ...]:
        """The class, or the labels of a multi-label source; empty without any."""
        if self.labels is not None:
            return self.labels
        return () if self.label is None else (self.label,)


@dataclass(frozen=True)
class Images:
    """Every file of a source, in a fixed order, with its intake result.

    Attributes:
        root: The folder that paths are relative to; None if they are used as given.
        rows: One per file, sorted by path; for a table or list, one per line, in its order.
        contents: Images that are in memory, by the digest of their row. The path of such a row is
            no file but its place in the list, such as `image 3` for the fourth. Files of an archive
            are read from it when they are looked up, which may raise ImageError.
        notes: What was read in another way than may be expected, and what was left out, one
            sentence each.
        folders: Folders all of whose files were listed. What ilk writes must not lie in them.
        hint: The folder or table that was probably meant instead of this one, as a question; "" if
            none is known.
        value_ranges: Stored values that are black and white in images of more than 8 bits, by kind
            (see `ilk.images.value_range`); empty if there are no such images.
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
        return self.root / row.file_path if self.root is not None else Path(row.file_path)

    def shown_path_of(self, row: Row) -> Path:
        """Return the path of `row` for display: of a page, that of the file and its number."""
        return self.root / row.path if self.root is not None else Path(row.path)

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
        return replace(self, rows=tuple(_refuse_row(row, failures) for row in self.rows))

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
            "rows": [_row_to_json(row) for row in self.rows],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Images:
        """Restore from the result of `to_json`.

        Raises:
            ArtifactError: It is not an intake report.
        """
        try:
            root = None if data["root"] is None else Path(data["root"])
            rows = tuple(_row_from_json(record) for record in data["rows"])
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


def escape_path(text: str | os.PathLike[str]) -> str:
    """Return a printable path: unprintable characters are written as escapes.

    >>> escape_path("caf\\udce9")
    'caf\\\\udce9'
    """
    clean = os.fspath(text).encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c >= " " and not "\x7f" <= c <= "\x9f" else ascii(c)[1:-1] for c in clean)


def _refuse_row(row: Row, failures: Mapping[str, tuple[str, str]]) -> Row:
    if row.status != "used" or row.digest not in failures:
        return row
    reason, detail = failures[row.digest]
    return replace(row, status="refused", reason=reason, detail=detail)


def _items(data: Mapping[str, Any], name: str) -> Iterable[tuple[str, Any]]:
    return cast("Iterable[tuple[str, Any]]", data.get(name, {}).items())


_REQUIRED_FIELDS = ("path", "label", "split", "status")
_FIELD_NAMES = tuple(f.name for f in fields(Row))


def _row_to_json(row: Row) -> dict[str, Any]:
    return {
        name: value
        for name, value in asdict(row).items()
        if name in _REQUIRED_FIELDS or value or value == ()
    }


def _row_from_json(record: Mapping[str, Any]) -> Row:
    known = {name: record[name] for name in _FIELD_NAMES if name in record}
    check_type(known, Row, "")
    row = Row(**known)
    if row.labels is not None:
        row = replace(row, labels=tuple(row.labels))
    if row.value_range is not None:
        row = replace(row, value_range=(float(row.value_range[0]), float(row.value_range[1])))
    if row.status not in ("used", "refused", "ignored") or row.split not in (
        "train",
        "val",
        "test",
    ):
        raise TypeError(f"a row has status {row.status!r} and split {row.split!r}")
    return row
