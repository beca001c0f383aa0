"""Text for terminals: characters that would move the cursor or recolor the screen as escapes.

Names of files and classes come from strangers. What is written to a terminal, and all of standard
error, passes `FilteredStream`; files and pipes get the exact text.
"""

from __future__ import annotations

import re
from typing import Any, TextIO

_CONTROL = r"\x00-\x08\x0b-\x1f\x7f-\x9f"  # but tab and line feed
_BIDIRECTIONAL = "\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069"
_UNSAFE = re.compile(f"[{_CONTROL}{_BIDIRECTIONAL}\ud800-\udfff]")
_UNSAFE_IN_LINE = re.compile(f"[\n\t{_CONTROL}{_BIDIRECTIONAL}\ud800-\udfff]")


def escape_controls(text: str) -> str:
    r"""Return text whose control characters, but tab and line feed, are written as escapes.

    >>> escape_controls("caf\x1b[31m")
    'caf\\x1b[31m'
    """
    return _UNSAFE.sub(_escape, text)


def escape_line(text: str) -> str:
    """Return text as one line, with all its control characters written as escapes."""
    return _UNSAFE_IN_LINE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return ascii(match[0])[1:-1]


class FilteredStream:
    """A text stream that writes control characters as escapes.

    It has no `buffer`, so that nothing writes past it. What draws on the terminal itself, such as
    a progress bar, asks for `get_unfiltered`.

    Attributes:
        unfiltered: The stream below.
    """

    def __init__(self, stream: TextIO) -> None:
        """Write to `stream`."""
        self.unfiltered = stream

    def write(self, text: str) -> int:
        """Write text and return its length."""
        self.unfiltered.write(escape_controls(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each of `lines`."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        """Return what the stream below has, except ways around the filter."""
        if name in ("unfiltered", "buffer", "detach", "reconfigure"):
            raise AttributeError(name)
        return getattr(self.unfiltered, name)


def filter_streams(out: TextIO, err: TextIO) -> tuple[TextIO, TextIO]:
    """Return standard output, filtered if it is a terminal, and standard error, filtered."""
    is_terminal = out is not None and out.isatty()
    filtered: Any = FilteredStream(out) if is_terminal else out
    filtered_error: Any = err if err is None else FilteredStream(err)
    return filtered, filtered_error


def get_unfiltered(stream: Any) -> Any:
    """Return the stream below a `FilteredStream`, or the stream itself."""
    return stream.unfiltered if isinstance(stream, FilteredStream) else stream
