"""The argument `labels=`: one label, or set of labels, per image, in any usual container."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from ilk.core.errors import InputError
from ilk.images.tables.frames import is_frame, list_columns, list_values


def list_labels(labels: Any, name: str = "labels") -> list[Any]:
    """Return labels as a list, from a list, an array `[n]` or `[n, 1]`, a Series or one column.

    Raises:
        InputError: They are in no order, or a table of several columns.
    """
    array = labels  # of NumPy, or a Series
    wanted = f"give a list with one {name[:-1]} per image"
    if isinstance(labels, str | bytes):
        raise InputError(f"{name}= is the text {labels!r}; {wanted}")
    if is_frame(labels):
        if len(names := list_columns(labels)) != 1:
            raise InputError(
                f"{name}= has {len(names)} columns; give one, such as df[{names[0]!r}]"
            )
        return list_values(labels, 0)
    if isinstance(labels, Mapping | AbstractSet) or not isinstance(labels, Iterable):
        raise InputError(f"{name}= is of type {type(labels).__name__}; {wanted}, in their order")
    if (n_dims := getattr(labels, "ndim", 1)) != 1:
        if n_dims != 2 or array.shape[1] != 1:
            raise InputError(
                f"{name}= is an array of shape {tuple(array.shape)}; {wanted}: for one column per "
                "class, names[labels.argmax(1)]"
            )
        labels = array[:, 0]
    for convert in ("to_pylist", "to_list"):  # of pyarrow, pandas and Polars
        if hasattr(array, convert):
            return list(getattr(array, convert)())
    return list(labels)
