"""Declaration of the fields of `Data` that hold one entry per row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray


def per_row(
    dtype: Any = None, default: Callable[[int], NDArray[Any]] | None = None
) -> dict[str, Any]:
    """Return the metadata of a dataclass field of `Data` that holds one entry per row.

    This metadata is all there is to adding such a field: construction, every cut, concatenation
    and every protocol find it there (see `row_field_names`).

    Args:
        dtype: np.int64 or np.float64 converts the values on construction; None keeps them.
        default: Returns the values of n rows, `[n]`, where none are given.
    """
    return {"per_row": True, "dtype": dtype, "default": default}


def row_field_names(data: Any) -> tuple[str, ...]:
    """Return the names of the fields of `data` (or of its class) with one entry per row."""
    return tuple(f.name for f in fields(data) if f.metadata.get("per_row"))


def convert_row_fields(data: Any, n: int) -> dict[str, NDArray[Any]]:
    """Return the values of the per-row fields of `data`, by name, with defaults filled in.

    Args:
        data: A dataclass whose fields are declared with `per_row`.
        n: Number of rows; every value is `[n]`, or `[n, ...]` where its dtype is not declared.

    Raises:
        ValueError: If a value has another length, or is not of the declared dtype.
    """
    values = {}
    for f in fields(data):
        value = getattr(data, f.name)
        if not f.metadata.get("per_row"):
            continue
        dtype, default = f.metadata["dtype"], f.metadata["default"]
        if value is None and default:
            value = default(n)
        if value is None:
            continue
        value = _to_int64(f.name, value) if dtype is np.int64 else np.asarray(value, dtype)
        if value.shape[:1] != (n,) or (dtype and value.shape != (n,)):
            raise ValueError(f"{f.name} has shape {value.shape}; {n} items need ({n},)")
        values[f.name] = value
    return values


def _to_int64(name: str, values: Any) -> NDArray[np.int64]:
    """Convert to int64; raise ValueError where that would change a value."""
    original = np.asarray(values)
    integers = original.astype(np.int64)
    if not np.array_equal(integers, original):
        bad_value = original[integers != original][0]
        raise ValueError(f"{name} holds {bad_value}, which is not a whole number")
    return integers
