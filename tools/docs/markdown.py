"""Renders results as Markdown: tables, means with intervals and nested values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

MAX_SHOWN = 12  # longest list that fits in a table cell


def format_interval(value: dict[str, float | None] | None) -> str:
    """Return a mean and the half width of its interval, or "" for None."""
    if value is None:
        return ""
    mean, half = value["mean"], value["half_width"]
    return f"{mean:.3f}" if half is None else f"{mean:.3f} ± {half:.3f}"


def render_results(result: dict[str, Any]) -> Iterator[str]:
    """Yield one table of the plain values, then one table per list of records."""
    leaves = list(_iterate_leaves(result))
    records = [(path, value) for path, value in leaves if _is_records(value)]
    plain_values = [
        (path, _format_value(value)) for path, value in leaves if not _is_records(value)
    ]
    if plain_values:
        yield format_table(("figure", "value"), plain_values)
    for path, rows in records:
        flat_rows = [dict(_iterate_leaves(row)) for row in rows]
        header = list(
            dict.fromkeys(key for row in flat_rows for key, v in row.items() if _is_cell(v))
        )
        body = [tuple(_format_value(row.get(key, "")) for key in header) for row in flat_rows]
        yield f"### {path}\n\n" + format_table(header, body)


def _iterate_leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value with its path of keys; lists too long for a cell are left out."""
    if isinstance(value, dict) and value.keys() == {"mean", "half_width"}:
        yield path, format_interval(value)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _iterate_leaves(inner, f"{path} · {key}" if path else str(key))
    elif _is_records(value) or _is_cell(value):
        yield path, value


def _is_records(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(x, dict) for x in value)


def _is_cell(value: Any) -> bool:
    """Return whether a value fits in a table cell."""
    if not isinstance(value, list):
        return True
    return len(value) <= MAX_SHOWN and not any(isinstance(x, dict | list) for x in value)


def _format_value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_format_value(x) for x in value)
    return f"{value:.4g}" if isinstance(value, float) else f"{value}".replace("|", "\\|")


def format_table(header: Sequence[str], rows: Sequence[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)
