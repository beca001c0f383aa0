"""Leave files out by patterns, as in `.gitignore`.

`*` and `?` match within one name, `**` any folders, `[...]` one of several characters. A pattern
without `/` matches a file or folder anywhere; with one, the path from the top; with one at the end,
folders only. What lies in a folder that matches is left out as well. Of several patterns, the last
one that matches decides; `!` before a pattern takes files in again.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from ilk.core.errors import InputError
from ilk.images.rows import Row, escape_path

REASON = "excluded"
_TOKENS = re.compile(r"\*\*/|/\*\*$|\*+|\?|\[!?\]?[^\]]*\]|.", re.DOTALL)


class OwnPattern(str):
    """A pattern that a command adds by itself: no note says that the user left its files out."""


class Exclusion:
    """Patterns of files that are left out.

    Attributes:
        patterns: As the user gave them.
    """

    def __init__(self, patterns: Sequence[str] | None = ()) -> None:
        """Compile the patterns.

        Raises:
            InputError: A pattern is empty or no text.
        """
        is_one = isinstance(patterns, str) or not isinstance(patterns, Iterable | None)
        self.patterns: tuple[Any, ...] = (patterns,) if is_one else tuple(patterns or ())
        self._compiled = [(p, *_compile(p)) for p in self.patterns]
        self._counts: Counter[str] = Counter()

    def find(self, path: str) -> str:
        """Return the pattern that leaves the file at a relative path out, or ""."""
        found = ""
        for pattern, is_kept, regex in self._compiled:
            if regex.match(path):
                found = "" if is_kept else pattern
        return found

    def excludes(self, path: str) -> bool:
        """Whether the file at a relative path is left out; it is counted."""
        pattern = self.find(path)
        self._counts[pattern] += bool(pattern)
        return bool(pattern)

    def apply(self, rows: Sequence[Row]) -> list[Row]:
        """Return the rows with those that a pattern matches marked as ignored."""
        if not self._compiled:
            return list(rows)
        return [self._mark(row) for row in rows]

    def _mark(self, row: Row) -> Row:
        pattern = self.find(row.path) if row.status != "ignored" else ""
        if not pattern:
            return row
        self._counts[pattern] += 1
        return replace(
            row, status="ignored", reason=REASON, detail=f"by {pattern}", label=None, labels=None
        )

    def describe(self) -> str:
        """Return a note on how many files were left out, or ""."""
        counts = [
            f"{self._counts[pattern]:,} by {escape_path(pattern)}"
            for pattern, is_kept, _ in self._compiled
            if not is_kept and not isinstance(pattern, OwnPattern)
        ]
        return f"files left out by --exclude (exclude=): {', '.join(counts)}" if counts else ""


def _compile(pattern: str) -> tuple[bool, re.Pattern[str]]:
    """Return whether the pattern takes files in again, and its regular expression.

    Raises:
        InputError: It is empty or no text.
    """
    if not isinstance(pattern, str) or not pattern.strip("!/ "):
        raise InputError(
            f"exclude is {pattern!r}; give patterns of file names, such as '*_mask.png' or 'masks/'"
        )
    is_kept, body = pattern.startswith("!"), pattern.removeprefix("!").removeprefix("\\")
    is_folder, body = body.endswith("/"), body.rstrip("/")
    start = "" if "/" in body else "(?:.*/)?"
    end = "/" if is_folder else "(?:/|$)"
    text = "".join(map(_translate, _TOKENS.findall(body.removeprefix("./").removeprefix("/"))))
    return is_kept, re.compile(f"{start}{text}{end}", re.DOTALL)


def _translate(token: str) -> str:
    if token == "**/":
        return "(?:.*/)?"
    if token == "/**":
        return "/.*"
    if token[0] == "*":
        return "[^/]*"
    if token == "?":
        return "[^/]"
    if token[0] == "[" and len(token) > 2:
        body = token[1:-1].replace("\\", "\\\\").replace("[", "\\[").replace("^", "\\^")
        body = f"^{body[1:]}/" if body.startswith("!") else body
        return f"(?![/])[{body}]"
    return re.escape(token)
