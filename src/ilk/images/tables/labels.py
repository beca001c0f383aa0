"""The labels in the lines of a table: from one column, from cells with sets, or from indicators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ilk.core.errors import InputError
from ilk.images.annotations.indicator_columns import find_indicator_columns
from ilk.images.annotations.label_columns import (
    OFFER,
    check_single_labels,
    merge_lines,
    parse_indicator_sets,
    parse_sets,
    with_labels,
)
from ilk.images.annotations.label_values import parse_labels
from ilk.images.rows import Row, escape_path
from ilk.images.tables.columns import (
    LABEL_COLUMNS,
    check_recurring,
    describe_label_choice,
    find_usual,
)
from ilk.images.tables.files import Record
from ilk.images.tables.requested_columns import Columns, NoteCallback, find_column

NO_LABELS = "none"  # in place of the name of a column


def add_labels(
    file: Path,
    names: list[str],
    records: list[Record],
    rows: list[Row],
    columns: Columns,
    used: list[int],
    note: NoteCallback,
    unclear: Sequence[int] = (),
) -> list[Row]:
    """Return the rows with the label, or the set of labels, of their lines.

    Args:
        file: The table.
        names: Names of the columns.
        records: Number and cells of each line.
        rows: Paths and splits of the lines.
        columns: Column names given by the user.
        used: Positions of the columns that are read; those of labels are appended.
        note: Called with a remark on the choice of a column.
        unclear: Positions of columns that are not labels, although they may hold 0 and 1.
    """
    if columns.label == NO_LABELS and NO_LABELS not in names:
        return rows
    source, label = escape_path(file), None
    indicators: list[int] = []
    if columns.label is None:
        label = find_usual(names, LABEL_COLUMNS)
        if label is None or columns.multi_label:
            others = (*used, *unclear)
            indicators = find_indicator_columns(names, [cells for _, cells in records], others)
    if label is None and not indicators:
        label = find_column(file, names, "label", LABEL_COLUMNS, columns.label)
    used += indicators or ([] if label is None else [label])
    if columns.label is None and label is not None and not indicators:
        note(describe_label_choice(escape_path(file.name), names, label, used))
    cells = [_select_label(cells, label, len(names)) for _, cells in records]
    if columns.multi_label:
        numbers = [number for number, _ in records]
        sets = (
            parse_indicator_sets(source, names, records, indicators)
            if indicators
            else parse_sets(source, numbers, cells, columns.separator)
        )
        labelled = [with_labels(row, one) for row, one in zip(rows, sets, strict=True)]
        return merge_lines(labelled)
    if indicators:
        shown = ", ".join(escape_path(names[i]) for i in indicators[:3])
        shown += ", …" if len(indicators) > 3 else ""
        raise InputError(
            f"{source} looks like multi-label: it has no column of labels "
            f"({', '.join(LABEL_COLUMNS)}) and {len(indicators)} columns of 0 and 1 ({shown}); "
            f"{OFFER.partition(',')[0]}, or name the column of classes with label_column= "
            "(--label-column)"
        )
    labels = parse_labels(cells)
    single = [replace(row, label=name) for row, name in zip(rows, labels, strict=True)]
    if columns.multi_label is None:
        check_single_labels(source, cells, single)
    if columns.label is None and label is not None:
        check_recurring(source, names, records, label, used, labels)
    return single


def _select_label(cells: Sequence[Any], label: int | None, n_columns: int) -> Any:
    """Return the cell of the labels; names after unquoted commas become a list."""
    if label is None or label >= len(cells):
        return None
    surplus = [cell for cell in cells[n_columns:] if str(cell).strip()]
    return [cells[label], *surplus] if surplus and label == n_columns - 1 else cells[label]
