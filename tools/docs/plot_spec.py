"""The format of a plot specification, and its validation.

A benchmark's `run` returns a list under the key `"plots"`; each entry is a plain dictionary, which
`tools.docs.plots.draw_all` draws as SVG:

    file, kind, title, x, y     always: `NAME.svg`; `lines`, `heat` or `histogram`; axis labels
    lines       series          {name: [[x, y] or [x, y, low, high], ...]}, low and high a band
                log_x, log_y    true where an axis is logarithmic
                marks, levels   {label: x} and {label: y}, drawn as dashed lines
    heat        matrix          rows of numbers, null where there is none
                rows, columns   names
                label           what a cell counts
                best, digits    "high" or "low" outlines that cell; decimals in the cells
    histogram   values          numbers
                marks, bins     {label: x}; how many bars

`log_x`, `log_y`, `marks`, `levels`, `best`, `digits` and `bins` are optional.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from ilk.core.errors import InputError

Spec = dict[str, Any]

REQUIRED_KEYS = {"lines": {"series"}, "heat": {"matrix", "rows", "columns", "label"}}
REQUIRED_KEYS["histogram"] = {"values"}
OPTIONAL_KEYS = {"lines": {"log_x", "log_y", "marks", "levels"}, "heat": {"best", "digits"}}
OPTIONAL_KEYS["histogram"] = {"marks", "bins"}
COMMON_KEYS = {"file", "kind", "title", "x", "y"}
NUMERIC_KEYS = {"series", "matrix", "values", "marks", "levels"}


def check_spec(spec: Spec) -> None:
    """Validate a plot specification.

    Raises:
        InputError: If it is invalid; the message names the file, the key and the problem.
    """
    prefix = f"plot {spec.get('file', 'without a file')!r}"
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*\.svg", str(spec.get("file"))):
        raise InputError(
            f"{prefix}: `file` must consist of lower-case letters, digits, _ and -, and end in .svg"
        )
    kind = spec.get("kind")
    if kind not in REQUIRED_KEYS:
        kinds = ", ".join(sorted(REQUIRED_KEYS))
        raise InputError(f"{prefix}: unknown kind of plot {kind!r}; use one of {kinds}")
    required = COMMON_KEYS | REQUIRED_KEYS[kind]
    if bad_keys := sorted(required - spec.keys()):
        raise InputError(f"{prefix}: a plot of kind {kind} needs {', '.join(bad_keys)}")
    if bad_keys := sorted(spec.keys() - required - OPTIONAL_KEYS[kind]):
        raise InputError(f"{prefix}: a plot of kind {kind} has no {', '.join(bad_keys)}")
    for key in NUMERIC_KEYS & spec.keys():
        for value in _iterate_values(spec[key]):
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise InputError(f"{prefix}: `{key}` holds {value!r}, which is not a finite number")
    if problem := _find_problem(spec):
        raise InputError(f"{prefix}: {problem}")


def _find_problem(spec: Spec) -> str:
    """Return what is wrong with the values, or ""."""
    if spec["kind"] == "lines":
        points = [p for line in spec["series"].values() for p in line]
        if not spec["series"] or not all(spec["series"].values()):
            return "`series` holds a line without points; leave it out"
        if any(len(p) not in (2, 4) or None in p[:2] for p in points):
            return "`series` has points that are neither [x, y] nor [x, y, low, high]"
        for i, key in enumerate(("log_x", "log_y")):
            if spec.get(key) and (lowest := min(p[i] for p in points)) <= 0:
                return f"`{key}` requires positive numbers and `series` has {lowest}"
    elif spec["kind"] == "heat":
        shape = (len(spec["rows"]), len(spec["columns"]))
        if {len(row) for row in spec["matrix"]} != {shape[1]} or len(spec["matrix"]) != shape[0]:
            return f"`matrix` is not {shape[0]} rows of {shape[1]}, as `rows` and `columns` say"
        if all(cell is None for row in spec["matrix"] for cell in row):
            return "`matrix` holds no number"
        if spec.get("best", "high") not in ("high", "low"):
            return f"`best` is {spec['best']!r}; use high or low"
    elif not spec["values"] or None in spec["values"]:
        return "`values` is empty, or has gaps"
    return ""


def _iterate_values(value: Any) -> Iterator[Any]:
    """Yield all leaves except None, which marks a gap in lines and heat maps."""
    if isinstance(value, dict | list | tuple):
        for inner in value.values() if isinstance(value, dict) else value:
            if inner is not None:
                yield from _iterate_values(inner)
    else:
        yield value
