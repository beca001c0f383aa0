"""What a plot is told as, and a sentence for each way to tell it wrongly.

A benchmark's `run` hands back a list under `"plots"` at the top of its result; each entry is a
plain dictionary, and `ilk.pages.plots.drawn` makes an SVG of each:

    file, kind, title, x, y     in all: `NAME.svg`; `lines`, `heat` or `histogram`; axis labels
    lines       series          {name: [[x, y] or [x, y, low, high], ...]}, low and high a band
                log_x, log_y    true where an axis is logarithmic
                marks, levels   {label: x} and {label: y}, drawn as dashed lines
    heat        matrix          rows of numbers, null where there is none
                rows, columns   names
                label           what a cell counts
                best, digits    "high" or "low" outlines that cell; decimals in the cells
    histogram   values          numbers
                marks, bins     {label: x}; how many bars

`log_x`, `log_y`, `marks`, `levels`, `best`, `digits` and `bins` may be left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from ilk.errors import InputError

Spec = dict[str, Any]

NEEDED = {"lines": {"series"}, "heat": {"matrix", "rows", "columns", "label"}}
NEEDED["histogram"] = {"values"}
MAY = {"lines": {"log_x", "log_y", "marks", "levels"}, "heat": {"best", "digits"}}
MAY["histogram"] = {"marks", "bins"}
ALWAYS = {"file", "kind", "title", "x", "y"}
NUMBERS = {"series", "matrix", "values", "marks", "levels"}


def checked(spec: Spec) -> None:
    """Refuse a plot that is not told as the module says.

    Raises:
        InputError: Saying which key of which file is wrong, and how.
    """
    at = f"plot {spec.get('file', 'without a file')!r}"
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*\.svg", str(spec.get("file"))):
        raise InputError(f"{at}: `file` must be small letters, digits, _ and -, and end in .svg")
    kind = spec.get("kind")
    if kind not in NEEDED:
        raise InputError(f"{at}: no kind of plot is called {kind!r}: {', '.join(sorted(NEEDED))}")
    needed = ALWAYS | NEEDED[kind]
    if wrong := sorted(needed - spec.keys()):
        raise InputError(f"{at}: a plot of kind {kind} needs {', '.join(wrong)}")
    if wrong := sorted(spec.keys() - needed - MAY[kind]):
        raise InputError(f"{at}: a plot of kind {kind} has no {', '.join(wrong)}")
    for key in NUMBERS & spec.keys():
        for value in _leaves(spec[key]):
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise InputError(f"{at}: `{key}` holds {value!r}, which is no finite number")
    if told := _amiss(spec):
        raise InputError(f"{at}: {told}")


def _amiss(spec: Spec) -> str:
    """What is wrong inside, in words; nothing when all is well."""
    if spec["kind"] == "lines":
        points = [p for line in spec["series"].values() for p in line]
        if not spec["series"] or not all(spec["series"].values()):
            return "`series` holds a line without points; leave it out"
        if any(len(p) not in (2, 4) or None in p[:2] for p in points):
            return "`series` has points that are neither [x, y] nor [x, y, low, high]"
        for i, key in enumerate(("log_x", "log_y")):
            if spec.get(key) and min(p[i] for p in points) <= 0:
                return (
                    f"`{key}` wants numbers above 0, and `series` has {min(p[i] for p in points)}"
                )
    elif spec["kind"] == "heat":
        shape = (len(spec["rows"]), len(spec["columns"]))
        if {len(row) for row in spec["matrix"]} != {shape[1]} or len(spec["matrix"]) != shape[0]:
            return f"`matrix` is not {shape[0]} rows of {shape[1]}, as `rows` and `columns` say"
        if all(cell is None for row in spec["matrix"] for cell in row):
            return "`matrix` holds no number"
        if spec.get("best", "high") not in ("high", "low"):
            return f"`best` is {spec['best']!r}; it is high or low"
    elif not spec["values"] or None in spec["values"]:
        return "`values` is empty, or has gaps"
    return ""


def _leaves(value: Any) -> Iterator[Any]:
    """All that is no container, but for the gaps (None) that lines and heat maps may have."""
    if isinstance(value, dict | list | tuple):
        for inner in value.values() if isinstance(value, dict) else value:
            if inner is not None:
                yield from _leaves(inner)
    else:
        yield value
