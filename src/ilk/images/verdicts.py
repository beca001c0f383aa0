"""What files are to one another: spellings of one class, and the same bytes more than once."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from ilk.errors import InputError
from ilk.images.rows import Row, shown

FIRST = {"test": 0, "val": 1, "train": 2}  # of copies, the one in the test part stays


def spelled(rows: Sequence[Row], merge: bool) -> list[Row]:
    """The rows with one spelling a class.

    Names that differ only in case, in spaces around them or in how Unicode composes a letter are
    one class; `merge` takes the most frequent spelling (of equals, the first in sorting).

    Raises:
        InputError: There are such names, and `merge` is false.
    """
    counts = Counter(row.label for row in rows if row.label is not None and row.status == "used")
    groups: dict[str, list[str]] = {}
    for name in sorted(counts, key=lambda name: (-counts[name], name)):
        groups.setdefault(folded(name), []).append(name)
    twice = [names for names in groups.values() if len(names) > 1]
    if not twice:
        return list(rows)
    if not merge:
        raise InputError(_two_spellings(twice, counts))
    to = {name: names[0] for names in twice for name in names}
    return [replace(row, label=to.get(row.label or "", row.label)) for row in rows]


def folded(name: str) -> str:
    """What two spellings of one class name have in common."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).strip()


def _two_spellings(groups: Sequence[Sequence[str]], counts: Counter[str]) -> str:
    names = groups[0]
    alike = len({unicodedata.normalize("NFC", name) for name in names}) < len(names)
    told = [f"{ascii(n) if alike else repr(shown(n))} ({counts[n]} files)" for n in names]
    more = f" (and {len(groups) - 1} more such classes)" if len(groups) > 1 else ""
    return (
        f"one class name in {len(names)} spellings: {' and '.join(told)}{more}; rename, "
        "or merge them onto the most frequent with merge_spellings=True (--merge-spellings)"
    )


def settled(rows: Sequence[Row]) -> list[Row]:
    """The rows, with what must not be used twice refused; none moves or goes.

    Of files with the same bytes one is used. If they have different labels none is, for no one
    knows which is right. Otherwise it is a labelled one rather than an unlabelled, then one of the
    test part rather than of another (a model must not have seen what it is tested on), then the
    first. Only files whose header is an image's take part.
    """
    out = list(rows)
    copies: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        if row.status == "used":
            copies.setdefault(row.digest, []).append(i)
    for group in copies.values():
        if len(group) > 1:
            for i, reason, detail in _judged(rows, group):
                out[i] = replace(rows[i], status="refused", reason=reason, detail=detail)
    return out


def _judged(rows: Sequence[Row], group: Sequence[int]) -> list[tuple[int, str, str]]:
    """Position, reason and detail of the rows to refuse among `group`, which share their bytes."""
    labelled = [i for i in group if rows[i].label is not None]
    if len({rows[i].label for i in labelled}) > 1:
        return [(i, "same content under two labels", _otherwise(rows, i, labelled)) for i in group]
    kept = min(labelled or group, key=lambda i: (FIRST[rows[i].split], i))
    return [(i, *_copy(rows[i], rows[kept])) for i in group if i != kept]


def _otherwise(rows: Sequence[Row], i: int, labelled: Sequence[int]) -> str:
    """The first file that gives the bytes of row `i` another label."""
    j = next(j for j in labelled if rows[j].label != rows[i].label)
    own = "without a label" if rows[i].label is None else f"as {rows[i].label}"
    return f"{own}, but {rows[j].path} as {rows[j].label}"


def _copy(row: Row, kept: Row) -> tuple[str, str]:
    if kept.split == "test" and row.split != "test":
        return "in both train and test", f"also {kept.path}"
    return "duplicate", f"of {kept.path}"
