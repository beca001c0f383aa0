"""`Row`: what intake found out about one file, or one line of a table."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ilk.core.terminal_text import escape_line
from ilk.core.typed_values import check_type

Content = bytes | Image.Image | NDArray[np.uint8]
"""An image in memory: the bytes of a file, a Pillow image, or an array `[h, w]` or `[h, w, c]`."""

SplitName = Literal["train", "val", "test"]
Status = Literal["used", "refused", "ignored"]

REASONS = {
    "empty": "no bytes",
    "truncated": "the file ends too early",
    "not an image": "none of the supported formats, such as JPEG, PNG, WebP and TIFF",
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
COMPARED = frozenset(
    {
        "duplicate",
        "same content under two labels",
        "in both train and test",
        "group in both train and test",
    }
)
"""Reasons that depend on other rows: the file itself can be read."""
DECODED = COMPARED - {"duplicate"} | {"excluded"}
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
        pixel_digest: SHA-256 of the decoded pixels, hex (`ilk.images.inspection.pixel_summary`); ""
            if the image is not decoded.
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


def escape_path(text: str | os.PathLike[str]) -> str:
    """Return a printable path: unprintable characters are written as escapes.

    >>> escape_path("caf\\udce9")
    'caf\\\\udce9'
    """
    return escape_line(os.fspath(text))


def refuse_row(row: Row, failures: Mapping[str, tuple[str, str]]) -> Row:
    """Return the row, refused if it is used and `failures` has a reason for its digest."""
    if row.status != "used" or row.digest not in failures:
        return row
    reason, detail = failures[row.digest]
    return replace(row, status="refused", reason=reason, detail=detail)


_REQUIRED_FIELDS = ("path", "label", "split", "status")
_FIELD_NAMES = tuple(f.name for f in fields(Row))


def row_to_json(row: Row) -> dict[str, Any]:
    """Return a row as plain values; most fields that are empty are left out."""
    return {
        name: value
        for name, value in asdict(row).items()
        if name in _REQUIRED_FIELDS or value or value == ()
    }


def row_from_json(record: Mapping[str, Any]) -> Row:
    """Return the row of plain values; fields of newer versions are ignored.

    Raises:
        TypeError: A field is missing, or of another type or value.
    """
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
