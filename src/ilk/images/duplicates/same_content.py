"""The same content in several files, under two labels, or in train and test: refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from ilk.images.rows import Row

SPLIT_PRIORITY = {
    "test": 0,
    "val": 1,
    "train": 2,
}  # of identical files, the one in the test split stays
SUFFIX = {"bytes": "", "pixels": " (the same pixels, saved differently)"}  # of details


def refuse_duplicates(rows: Sequence[Row], same: Literal["bytes", "pixels"] = "bytes") -> list[Row]:
    """Refuse rows whose content must not be used twice; the order and number of rows stay.

    Of files with the same content, one is used. If their labels differ, none is, because it is
    unknown which is right. Otherwise a labelled file is preferred to an unlabelled one, then one of
    the test split (a model must not be trained on its test images), then the first. Only files with
    a readable image header take part.

    Args:
        rows: One per file.
        same: What makes two contents the same: identical bytes, or identical decoded pixels, where
            rows without a `pixel_digest` take no part.
    """
    out = list(rows)
    copies: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        key = row.pixel_digest if same == "pixels" else row.digest
        if row.status == "used" and key:
            copies.setdefault(key, []).append(i)
    for members in copies.values():
        if len(members) > 1:
            for i, reason, detail in _find_refusals(rows, members, SUFFIX[same]):
                out[i] = replace(rows[i], status="refused", reason=reason, detail=detail)
    return out


def _find_refusals(
    rows: Sequence[Row], members: Sequence[int], suffix: str
) -> list[tuple[int, str, str]]:
    """Return position, reason and detail of the `members` to refuse, which share their content."""
    labelled = [i for i in members if rows[i].label is not None]
    if len({rows[i].label for i in labelled}) > 1:
        return [
            (
                i,
                "same content under two labels",
                _describe_conflict(rows, i, labelled) + suffix,
            )
            for i in members
        ]
    original = min(labelled or members, key=lambda i: (SPLIT_PRIORITY[rows[i].split], i))
    return [(i, *describe_copy(rows[i], rows[original], suffix)) for i in members if i != original]


def _describe_conflict(rows: Sequence[Row], i: int, labelled: Sequence[int]) -> str:
    """Name the first file with the same content as row `i` and another label."""
    j = next(j for j in labelled if rows[j].label != rows[i].label)
    own = "without a label" if rows[i].label is None else f"as {rows[i].label}"
    return f"{own}, but {rows[j].path} as {rows[j].label}"


def describe_copy(row: Row, original: Row, suffix: str = "") -> tuple[str, str]:
    """Return reason and detail of a row whose content is that of `original`, which is used."""
    if original.split == "test" and row.split != "test":
        return "in both train and test", f"also {original.path}{suffix}"
    return "duplicate", f"of {original.path}{suffix}"
