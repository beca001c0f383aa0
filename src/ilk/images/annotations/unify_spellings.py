"""One spelling per class: names that differ only in case, spaces or composition are merged."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from ilk.core.errors import InputError
from ilk.images.annotations.label_columns import with_labels
from ilk.images.annotations.label_values import parse_labels
from ilk.images.rows import Row, escape_path


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
    spellings: dict[str, list[str]] = {}
    clean = {n: parsed or n for n, parsed in zip(counts, parse_labels(counts), strict=True)}
    for name in sorted(counts, key=lambda name: (-counts[name], name)):
        spellings.setdefault(normalize_class_name(clean[name]), []).append(name)
    conflicts = [names for names in spellings.values() if len(names) > 1]
    if conflicts and not merge:
        raise InputError(_format_spelling_conflict(conflicts, counts))
    canonical = {name: clean[names[0]] for names in spellings.values() for name in names}
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


def _format_spelling_conflict(conflicts: Sequence[Sequence[str]], counts: Counter[str]) -> str:
    names = conflicts[0]
    same_composed = len({unicodedata.normalize("NFC", name) for name in names}) < len(names)
    spellings = [
        f"{ascii(n) if same_composed else repr(escape_path(n))} ({counts[n]} files)" for n in names
    ]
    more = f" (and {len(conflicts) - 1} more such classes)" if len(conflicts) > 1 else ""
    return (
        f"one class name in {len(names)} spellings: {' and '.join(spellings)}{more}; rename, "
        "or merge them onto the most frequent with merge_spellings=True (--merge-spellings)"
    )
