"""Read a result folder without what differs between two equal runs: times, dates and their digests.

Two results are *equal* if they hold files of the same names and, apart from the entries and texts
below, of the same bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

VOLATILE = {"seconds", "cpu_seconds", "date", "digest", "created", "command", "folder", "root"}
"""Keys of JSON whose values are times, places, or digests of files with times."""

TEXTS = (  # in pages and logs
    (re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d)?([+-]\d\d:\d\d|Z)?)?"), "DATE"),
    (re.compile(r"\d[\d,.]*[\s\u00a0\u202f]*(s|ms|min|seconds?)\b"), "TIME"),
    (re.compile(r"\d\d?:\d\d(:\d\d)?( UTC)?"), "CLOCK"),
)
IGNORED = re.compile(r"\.ilk\.(lock|holder)|samples\.png")  # locks, and pictures of unfinished runs
LEFTOVER = re.compile(r".*\.(part|trial|ilk-new)|\.ilk\.commit")
WEIGHTS = re.compile(r"model(-[0-9a-f]{8})?\.safetensors")

Content = dict[str, Any]


def read_content(root: Path, places: Mapping[str, str] | None = None) -> Content:
    """Return the comparable content of each file below `root`, by relative path.

    Args:
        root: A result folder; empty if it does not exist.
        places: Paths of this run, and what to write for them.
    """
    content: Content = {}
    for path in sorted(root.rglob("*")):
        if path.is_dir() or IGNORED.fullmatch(path.name):
            continue
        name = str(path.relative_to(root))
        name = "weights" if WEIGHTS.fullmatch(name) else name
        data = path.read_bytes()
        if path.suffix in (".json", ".jsonl", ".html", ".csv", ".txt"):
            text = data.decode("utf-8", "surrogateescape")
            for place, stands_for in (places or {}).items():
                text = text.replace(place, stands_for)
            content[name] = _read_text(text, path.suffix)
        else:
            content[name] = data
    return content


def _read_text(text: str, suffix: str) -> Any:
    if suffix == ".json":
        try:
            return _drop_volatile(json.loads(text))
        except ValueError:
            return text
    if suffix == ".jsonl":
        return [_drop_volatile(json.loads(line)) for line in text.splitlines() if line][-1:]
    for pattern, stands_for in TEXTS:
        text = pattern.sub(stands_for, text)
    return text


def _drop_volatile(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _drop_volatile(inner)
            for key, inner in value.items()
            if key not in VOLATILE and not (key == "file" and "sha256" in value)
        }
    if isinstance(value, list):
        return [_drop_volatile(inner) for inner in value]
    if isinstance(value, str):
        for pattern, stands_for in TEXTS:
            value = pattern.sub(stands_for, value)
    return value


def find_leftovers(root: Path) -> list[str]:
    """Return files of unfinished writes below `root`."""
    return [path.name for path in sorted(root.rglob("*")) if LEFTOVER.fullmatch(path.name)]


def describe_difference(found: Content, expected: Content) -> str:
    """Return the names of files that are missing, too many or different; "" for equal content."""
    missing = sorted(expected.keys() - found.keys())
    extra = sorted(found.keys() - expected.keys())
    different = sorted(k for k in expected.keys() & found.keys() if expected[k] != found[k])
    parts = (("missing", missing), ("too many", extra), ("different", different))
    return "; ".join(f"{what}: {', '.join(names[:6])}" for what, names in parts if names)
