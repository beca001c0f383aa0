"""A DataFrame of a few lines, with what pandas, Polars and pyarrow have in common."""

from __future__ import annotations

from typing import Any


class Frame:
    """Named columns; `style` chooses the interface: pandas, polars or pyarrow."""

    def __init__(self, columns: dict[str, list[Any]], style: str = "pandas") -> None:
        self._data, self._style = columns, style
        self.shape = (len(next(iter(columns.values()), [])), len(columns))
        self.columns: list[Any] = list(columns)
        if style == "pyarrow":
            self.column_names, self.columns = list(columns), list(columns.values())

    def __getitem__(self, name: str) -> Any:
        return _Column(self._data[name], self._style)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise AssertionError("a table of mixed columns is no array")


class _Column:
    def __init__(self, values: list[Any], style: str) -> None:
        convert = {"pandas": "tolist", "polars": "to_list", "pyarrow": "to_pylist"}[style]
        setattr(self, convert, lambda: list(values))
