"""The labels in a table: one name per line, or a set of names where images have several labels.

Without a decision of the user, a table whose labels are clearly sets of names is refused with the
evidence, because classes such as `cat;dog` would be neither of the two.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from math import isfinite
from typing import Any

from ilk.core.errors import InputError
from ilk.images.annotations.indicator_columns import check_signs, parse_indicators
from ilk.images.annotations.label_sets import (
    LabelSet,
    find_separator,
    format_label_set,
    parse_label_set,
    parse_list,
)
from ilk.images.annotations.label_values import parse_label, parse_labels
from ilk.images.rows import Row, escape_path

OFFER = (
    "train with --multi-label (multi_label=True), so that an image has several labels, or with "
    "--no-multi-label (multi_label=False) if these are names of classes"
)
MIN_REPEATED = 10  # images with several lines and labels, and
MIN_REPEATED_SHARE = 0.1  # their share, from which a table looks like one line per label
MAX_NUMBERS = 20  # different numbers that can be classes, however many images there are


def check_single_labels(name: str, cells: Sequence[Any], rows: Sequence[Row]) -> None:
    """Refuse labels that are sets of names, or measurements instead of classes.

    Args:
        name: Name of the source in the message.
        cells: Cells of the label column, one per line.
        rows: The lines as single-label rows.

    Raises:
        InputError: The labels are clearly sets of names, or real numbers.
    """
    if evidence := _find_label_sets(cells, rows) or _find_repeated_images(rows):
        raise InputError(f"{name} looks like multi-label: {evidence}; {OFFER}")
    _check_no_regression(name, [row.label for row in rows if row.label is not None])


def _find_label_sets(cells: Sequence[Any], rows: Sequence[Row]) -> str:
    """Return the evidence that cells hold several labels, or ""."""
    filled = [cell for cell, row in zip(cells, rows, strict=True) if row.label is not None]
    lists = [items for cell in filled if (items := parse_list(cell)) is not None]
    if longer := [items for items in lists if len(items) > 1]:
        return (
            f"{len(longer):,} of {len(filled):,} label cells list several names "
            f"(such as {escape_path(', '.join(map(str, longer[0])))})"
        )
    separator = find_separator(cell for cell in filled if isinstance(cell, str))
    if separator is None or not separator.is_clear:
        return ""
    return (
        f"{separator.n_separated:,} of {separator.n_cells:,} label cells contain "
        f"{separator.separator!r} (such as {escape_path(separator.example)!r}), and the parts "
        "also occur alone or in other combinations"
    )


def _find_repeated_images(rows: Sequence[Row]) -> str:
    labels = defaultdict(set)
    for row in rows:
        if row.label is not None:
            labels[row.path].add(row.label)
    n = sum(len(names) > 1 for names in labels.values())
    if n < max(MIN_REPEATED, MIN_REPEATED_SHARE * len(labels)):
        return ""
    return f"{n:,} of {len(labels):,} images stand in several lines with different labels"


def describe_separator(labels: Sequence[str]) -> str:
    """Return a note on class names that contain a separator but do not look like sets, or ""."""
    separator = find_separator(labels)
    if separator is None or separator.is_clear:
        return ""
    return (
        f"{separator.n_separated:,} of {separator.n_cells:,} labels contain "
        f"{separator.separator!r} (such as {escape_path(separator.example)!r}) and are taken as "
        "names of classes; if they are several labels, use --multi-label"
    )


def parse_number(text: str) -> float | None:
    """Return the finite number that `text` is, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if isfinite(value) else None


def _check_no_regression(name: str, labels: Sequence[str]) -> None:
    """Raise InputError if the labels are many different real numbers."""
    distinct = Counter(labels)
    numbers = [parse_number(label) for label in distinct]
    known = [number for number in numbers if number is not None]
    if len(known) < len(numbers) or len(distinct) <= MAX_NUMBERS:
        return
    is_real = 2 * sum(not number.is_integer() for number in known) > len(known)
    if len(distinct) <= len(labels) * (0.2 if is_real else 0.8):
        return
    raise InputError(
        f"the label column of {name} holds {len(distinct):,} different numbers in {len(labels):,} "
        "lines (regression), and ilk classifies; group the numbers into classes such as 0-9, "
        "10-19 and train with --ordered"
    )


def parse_sets(
    file: str, numbers: Sequence[int], cells: Sequence[Any], separator: str | None
) -> list[LabelSet | None]:
    """Return the labels in each cell; None where they are unknown.

    Args:
        file: Name of the source in messages.
        numbers: Number of each line.
        cells: Cells of the label column.
        separator: Separator of names; None finds it.

    Raises:
        InputError: A cell contradicts itself, or `separator` occurs in none.
    """
    texts = [cell for cell in cells if isinstance(cell, str) and parse_list(cell) is None]
    if separator is not None and texts and not any(separator in text for text in texts):
        raise InputError(
            f"no label cell of {file} contains the separator {separator!r}; give the one that "
            "stands between the names with label_separator= (--label-separator)"
        )
    found = find_separator(texts) if separator is None else None
    if found is not None:
        separator = found.separator
    sets: list[LabelSet | None] = []
    for number, cell in zip(numbers, cells, strict=True):
        try:
            sets.append(_parse_set(cell, separator))
        except ValueError as error:
            raise InputError(f"{file}, line {number}: {error}; correct the line") from None
    return _unify_values(sets)


def _parse_set(cell: Any, separator: str | None) -> LabelSet | None:
    """Return the labels in a cell, whose items may have any type of a label."""
    items = parse_list(cell)
    if items is not None:
        return parse_label_set([parse_label(item) for item in items], separator)
    if isinstance(cell, str):
        parse_label(cell)  # raises for text that is not UTF-8
        return parse_label_set(cell, separator)
    return parse_label_set(parse_label(cell), separator)


def _unify_values(sets: Sequence[LabelSet | None]) -> list[LabelSet | None]:
    """Return sets in which whole numbers are written one way, as for single labels."""
    names = sorted({name for one in sets for name in one or ()})
    unified = dict(zip(names, parse_labels(names), strict=True))
    return [None if one is None else tuple(sorted({str(unified[n]) for n in one})) for one in sets]


def parse_indicator_sets(
    file: str,
    names: Sequence[str],
    records: Sequence[tuple[int, Sequence[Any]]],
    columns: Sequence[int],
) -> list[LabelSet | None]:
    """Return the labels of each line from one column per label; None where all are empty.

    Raises:
        InputError: A line is empty in some label columns only, or -1 has no clear meaning.
    """
    sets, line = [], ""
    try:
        check_signs([cells for _, cells in records], columns)
        for number, cells in records:
            line = f", line {number}"
            sets.append(parse_indicators(names, cells, columns))
    except ValueError as error:
        raise InputError(f"{file}{line}: {error}") from None
    return sets


def with_labels(row: Row, names: LabelSet | None) -> Row:
    """Return the row with a set of labels; None marks it as unlabelled."""
    return replace(row, labels=names, label=None if names is None else format_label_set(names))


def merge_lines(rows: Sequence[Row]) -> list[Row]:
    """Join the labels of lines with the same path and split; the first line keeps its place.

    A line without labels adds nothing to one with labels.
    """
    merged: dict[tuple[str, str], Row] = {}
    for row in rows:
        key = (row.path, row.split)
        first = merged.setdefault(key, row)
        if first is not row and row.labels is not None:
            merged[key] = with_labels(first, tuple(sorted({*(first.labels or ()), *row.labels})))
    return list(merged.values())
