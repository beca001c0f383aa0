"""Figures as Markdown: tables, means with their intervals, and results of any shape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

MANY = 12  # entries of a list that are still shown


def spread_text(value: dict[str, float | None] | None) -> str:
    """Mean and half width of the interval, where there is one."""
    if value is None:
        return ""
    mean, half = value["mean"], value["half_width"]
    return f"{mean:.3f}" if half is None else f"{mean:.3f} ± {half:.3f}"


def results_text(result: dict[str, Any]) -> Iterator[str]:
    """Plain values as one table; each list of records as a table of its own."""
    leaves = list(_leaves(result))
    records = [(path, value) for path, value in leaves if _is_records(value)]
    plain = [(path, _shown(value)) for path, value in leaves if not _is_records(value)]
    if plain:
        yield table_text(("figure", "value"), plain)
    for path, rows in records:
        flat = [dict(_leaves(row)) for row in rows]
        head = list(dict.fromkeys(key for row in flat for key, v in row.items() if _fits(v)))
        body = [tuple(_shown(row.get(key, "")) for key in head) for row in flat]
        yield f"### {path}\n\n" + table_text(head, body)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Values by their path through dictionaries; lists stay whole, unless too long to show."""
    if isinstance(value, dict) and value.keys() == {"mean", "half_width"}:
        yield path, spread_text(value)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path} · {key}" if path else str(key))
    elif _is_records(value) or _fits(value):
        yield path, value


def _is_records(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(x, dict) for x in value)


def _fits(value: Any) -> bool:
    """Whether a value can stand in a cell."""
    if not isinstance(value, list):
        return True
    return len(value) <= MANY and not any(isinstance(x, dict | list) for x in value)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_shown(x) for x in value)
    return f"{value:.4g}" if isinstance(value, float) else f"{value}".replace("|", "\\|")


def table_text(head: Sequence[str], rows: Sequence[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)
