"""`Row` and `Images`: what became of every file."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ilk.errors import ArtefactError, NoImages, OutputError

Split = Literal["train", "val", "test"]
Status = Literal["used", "refused", "ignored"]

REASONS = {
    "empty": "no bytes",
    "truncated": "the file ends too early",
    "not an image": "none of JPEG, PNG, WebP, GIF, BMP, TIFF",
    "too large": "more pixels than allowed, judged from the header",
    "unreadable": "no permission, damaged, or of a kind that is not read",
    "missing": "listed, but not there",
    "duplicate": "the same bytes as another file, which is used",
    "same content under two labels": "the same bytes with different labels; none of them is used",
    "in both train and test": "the same bytes are in the test part, where they stay",
    "system file": "made by the operating system or a tool",
    "label table": "the table that the labels came from",
}
"""Why a row is refused or ignored, and what that means."""


@dataclass(frozen=True, slots=True)
class Row:
    """One file, or one line of a table.

    Attributes:
        path: As found, `/` between its parts, relative to `Images.root` where there is one; bytes
            that are not UTF-8 are kept as lone surrogates (PEP 383).
        label: Name of the class, None where not known.
        split: The part it belongs to; "train" where there are no parts.
        status: "used"; "refused"; "ignored" for files that are no one's data (`.DS_Store`).
        reason: One of `REASONS`, "" if used.
        detail: The rest of the sentence, such as which file it duplicates.
        digest: SHA-256 of the bytes, hex; "" if they were not read.
        width: Pixels, as stored (before the EXIF orientation); 0 if not known.
        height: As `width`.
        mode: Pillow's name of the pixel form, such as "RGB" or "I;16".
        format: "JPEG", "PNG", …
        size: Bytes.
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


@dataclass(frozen=True)
class Images:
    """Every file of a source, in a fixed order, and what became of it.

    Attributes:
        root: The folder that paths start from; None if they stand for themselves.
        rows: One a file, sorted by path; of a table or a list, one a line, in its order.
    """

    root: Path | None
    rows: tuple[Row, ...]

    @cached_property
    def used(self) -> tuple[Row, ...]:
        """The rows to work with, labelled or not."""
        return tuple(row for row in self.rows if row.status == "used")

    @cached_property
    def refused(self) -> tuple[Row, ...]:
        """The rows that cannot be used; system files are not among them."""
        return tuple(row for row in self.rows if row.status == "refused")

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that have a used image, sorted."""
        return tuple(sorted({row.label for row in self.used if row.label is not None}))

    def file(self, row: Row) -> Path:
        """Where the file of `row` lies."""
        return self.root / row.path if self.root is not None else Path(row.path)

    def part(self, split: str) -> Images:
        """The rows of one part: "train", "val" or "test"."""
        return Images(self.root, tuple(row for row in self.rows if row.split == split))

    def some(self) -> None:
        """Raise NoImages where no file can be used; says what became of them."""
        if not self.used:
            raise NoImages("no file could be used: " + ", ".join(x for x, _, _ in self.summary()))

    def refuse(self, failures: Mapping[str, tuple[str, str]]) -> Images:
        """Refuse used rows by content: digest to (reason, detail). No row moves or goes."""
        if not failures:
            return self
        return replace(self, rows=tuple(_refused(row, failures) for row in self.rows))

    def counts(self) -> dict[str, Any]:
        """How many rows of each status, reason, class and part."""
        status = Counter(row.status for row in self.rows)
        return {
            "files": len(self.rows),
            **{name: status[name] for name in ("used", "refused", "ignored")},
            "labelled": sum(row.label is not None for row in self.used),
            "reasons": dict(Counter(row.reason for row in self.rows if row.reason)),
            "classes": dict(sorted(Counter(r.label for r in self.used if r.label).items())),
            "splits": dict(Counter(row.split for row in self.used)),
        }

    def summary(self) -> list[tuple[str, int, str]]:
        """(what, how many, an example) for each fate that a file met, used first."""
        met: dict[str, list[Row]] = {}
        for row in self.rows:
            met.setdefault(row.reason or row.status, []).append(row)
        order = {what: i for i, what in enumerate(("used", *REASONS))}
        return [
            (what, len(met[what]), shown(" ".join(filter(None, (row.path, row.detail)))))
            for what in sorted(met, key=lambda what: order.get(what, len(order)))
            for row in met[what][:1]
        ]

    def to_json(self) -> dict[str, Any]:
        """The intake report; empty fields of a row are left out."""
        root = None if self.root is None else str(self.root)
        return {"root": root, "counts": self.counts(), "rows": [_told(row) for row in self.rows]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Images:
        """What `to_json` gave, read back.

        Raises:
            ArtefactError: It is no intake report.
        """
        try:
            root = None if data["root"] is None else Path(data["root"])
            return cls(root, tuple(_row(told) for told in data["rows"]))
        except (KeyError, TypeError) as error:
            raise ArtefactError(
                f"this is no intake report of ilk ({error}); make it anew"
            ) from None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `intake.json`: plain ASCII, one row a line, so that two can be compared.

        Raises:
            OutputError: The file cannot be written.
        """
        told = self.to_json()
        rows = ",\n".join(json.dumps(row) for row in told["rows"])
        head = f'{{"root": {json.dumps(told["root"])},\n"counts": {json.dumps(told["counts"])},\n'
        try:
            Path(path).write_text(f'{head}"rows": [\n{rows}\n]}}\n', encoding="ascii")
        except OSError as error:
            raise OutputError(
                f"cannot write {shown(path)}: {error.strerror}; name a place that can be written"
            ) from error


def shown(text: str | os.PathLike[str]) -> str:
    """A path for people: what cannot be printed is written as an escape.

    >>> shown("caf\\udce9")
    'caf\\\\udce9'
    """
    clean = os.fspath(text).encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c >= " " and not "\x7f" <= c <= "\x9f" else ascii(c)[1:-1] for c in clean)


def _refused(row: Row, failures: Mapping[str, tuple[str, str]]) -> Row:
    if row.status != "used" or row.digest not in failures:
        return row
    reason, detail = failures[row.digest]
    return replace(row, status="refused", reason=reason, detail=detail)


_ALWAYS = ("path", "label", "split", "status")
_NAMES = tuple(f.name for f in fields(Row))


def _told(row: Row) -> dict[str, Any]:
    return {name: value for name, value in asdict(row).items() if name in _ALWAYS or value}


def _row(told: Mapping[str, Any]) -> Row:
    row = Row(**{name: told[name] for name in _NAMES if name in told})
    if row.status not in ("used", "refused", "ignored") or row.split not in (
        "train",
        "val",
        "test",
    ):
        raise TypeError(f"a row has status {row.status!r} and split {row.split!r}")
    return row
