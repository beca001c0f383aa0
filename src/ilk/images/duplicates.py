"""Reconcile files with each other: spellings of one class name, and the same content twice."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from ilk.core.errors import InputError
from ilk.images.label_columns import with_labels
from ilk.images.label_values import parse_labels
from ilk.images.rows import Row, escape_path

SPLIT_PRIORITY = {
    "test": 0,
    "val": 1,
    "train": 2,
}  # of identical files, the one in the test split stays
SUFFIX = {"bytes": "", "pixels": " (the same pixels, saved differently)"}  # of details


def unify_spellings(rows: Sequence[Row], merge: bool) -> list[Row]:
    """Return the rows with one spelling per class.

    Names that differ only in case, in spaces around them, in how Unicode composes a letter or in
    `1.0` for `1` are one class; `merge` selects the most frequent spelling (ties: the first in sort
    order). No name keeps spaces around it.

    Raises:
        InputError: Such names exist and `merge` is false.
    """
    if any(row.labels for row in rows):
        return _unify_label_spellings(rows, merge)
    counts = Counter(row.label for row in rows if row.label is not None and row.status == "used")
    groups: dict[str, list[str]] = {}
    clean = {n: parsed or n for n, parsed in zip(counts, parse_labels(counts), strict=True)}
    for name in sorted(counts, key=lambda name: (-counts[name], name)):
        groups.setdefault(normalize_class_name(clean[name]), []).append(name)
    conflicts = [names for names in groups.values() if len(names) > 1]
    if conflicts and not merge:
        raise InputError(_format_spelling_conflict(conflicts, counts))
    canonical = {name: clean[names[0]] for names in groups.values() for name in names}
    if all(name == spelling for name, spelling in canonical.items()):
        return list(rows)
    return [replace(row, label=canonical.get(row.label or "", row.label)) for row in rows]


def _unify_label_spellings(rows: Sequence[Row], merge: bool) -> list[Row]:
    """Return multi-label rows with one spelling per label."""
    single = [replace(row, label=name, labels=None) for row in rows for name in row.labels or ()]
    unified = iter(unify_spellings(single, merge))
    return [
        row
        if not row.labels
        else with_labels(row, tuple(sorted({str(next(unified).label) for _ in row.labels})))
        for row in rows
    ]


def normalize_class_name(name: str) -> str:
    """Return the key that all spellings of one class name share."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).strip()


def _format_spelling_conflict(groups: Sequence[Sequence[str]], counts: Counter[str]) -> str:
    names = groups[0]
    same_composed = len({unicodedata.normalize("NFC", name) for name in names}) < len(names)
    spellings = [
        f"{ascii(n) if same_composed else repr(escape_path(n))} ({counts[n]} files)" for n in names
    ]
    more = f" (and {len(groups) - 1} more such classes)" if len(groups) > 1 else ""
    return (
        f"one class name in {len(names)} spellings: {' and '.join(spellings)}{more}; rename, "
        "or merge them onto the most frequent with merge_spellings=True (--merge-spellings)"
    )


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
    for group in copies.values():
        if len(group) > 1:
            for i, reason, detail in _find_refusals(rows, group, SUFFIX[same]):
                out[i] = replace(rows[i], status="refused", reason=reason, detail=detail)
    return out


def _find_refusals(
    rows: Sequence[Row], group: Sequence[int], suffix: str
) -> list[tuple[int, str, str]]:
    """Return position, reason and detail of the rows to refuse in `group`, which share content."""
    labelled = [i for i in group if rows[i].label is not None]
    if len({rows[i].label for i in labelled}) > 1:
        return [
            (
                i,
                "same content under two labels",
                _describe_conflict(rows, i, labelled) + suffix,
            )
            for i in group
        ]
    original = min(labelled or group, key=lambda i: (SPLIT_PRIORITY[rows[i].split], i))
    return [(i, *describe_copy(rows[i], rows[original], suffix)) for i in group if i != original]


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
