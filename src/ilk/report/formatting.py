"""Format numbers, file names and text for display."""

from __future__ import annotations

import re
from math import isnan
from pathlib import Path

from markupsafe import Markup

from ilk.core.metrics import Interval

MAX_NAME_LENGTH = 64  # characters; the middle of a longer name is replaced by an ellipsis
THIN_SPACE = "\u202f"  # narrow no-break space between a number and its unit

# Control characters and marks that change the direction of the text after them.
_INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufffe\uffff]")


def escape_text(text: str) -> str:
    """Escape undecodable bytes and invisible characters, so that `text` can be written as UTF-8.

    >>> escape_text("caf\\udce9")
    'caf\\\\xe9'
    """
    try:
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # a lone surrogate that does not come from a file name
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return _INVISIBLE.sub(lambda m: m[0].encode("unicode_escape").decode("ascii"), text)


def format_sentence(text: str) -> str:
    """Capitalize `text`, end it with a full stop, and use a thin space before percent signs.

    >>> format_sentence("classify an image")
    'Classify an image.'
    """
    text = re.sub(r"(?<=\d) %", f"{THIN_SPACE}%", escape_text(text)).strip()
    stop = "" if not text or text[-1] in ".!?…" else "."
    return text[:1].upper() + text[1:] + stop


def wrap_path(path: str) -> Markup:
    """Allow a line break after each slash of a path."""
    return Markup("/<wbr>").join(path.split("/"))


def abbreviate(text: str) -> str:
    """Escape `text` and replace the middle of a long one by an ellipsis."""
    text = escape_text(text)
    half = (MAX_NAME_LENGTH - 1) // 2
    return text if len(text) <= MAX_NAME_LENGTH else f"{text[:half]}…{text[-half:]}"


def format_file_name(path: str | Path, root: Path | None = None) -> str:
    """Return a path relative to `root` if it lies below, otherwise its last two components."""
    path = Path(path)
    if root is not None and path.is_relative_to(root):
        path = path.relative_to(root)
    elif path.is_absolute():
        path = Path(*path.parts[-2:])
    return abbreviate(path.as_posix())


def format_count(n: int, singular: str, plural: str = "") -> str:
    """Return a count with its noun, such as `1 image` or `1,258 images`."""
    return f"{n:,} {singular if n == 1 else plural or singular + 's'}"


def format_percent_value(proportion: float, digits: int = 1) -> str:
    """Return a proportion in percent, without the sign; never rounded up to 100 or down to 0."""
    if isnan(proportion):
        return "–"
    step = 10.0**-digits
    percent = 100 * proportion
    if 100 - step / 2 <= percent < 100:
        return f">{100 - step:.{digits}f}"
    if 0 < percent < step / 2:
        return f"<{step:.{digits}f}"
    return f"{percent:.{digits}f}"


def format_percent(proportion: float, digits: int = 1) -> str:
    """Return a proportion in percent, such as `98.3 %`."""
    return format_percent_value(proportion, digits) + (
        "" if isnan(proportion) else THIN_SPACE + "%"
    )


def format_level(proportion: float) -> str:
    """Return a level with as many digits as it was given, such as `90 %` or `99.5 %`."""
    return f"{100 * proportion:.4g}{THIN_SPACE}%"


def format_interval(interval: Interval) -> str:
    """Return the bounds of an interval, such as `96.9 to 99.1 %`."""
    return f"{format_percent_value(interval.low)} to {format_percent(interval.high)}"


def format_with_interval(interval: Interval) -> str:
    """Return a value with its interval, such as `98.3 % (95 % interval 96.9 to 99.1 %)`."""
    bounds = f"{format_level(interval.level)} interval {format_interval(interval)}"
    return f"{format_percent(interval.value)} ({bounds})"


def join_words(items: list[str]) -> str:
    """Join words, such as `a`, `a and b` or `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def format_seconds(elapsed: float) -> str:
    """Return a duration, such as `0.4 s`, `12 s` or `3 min 20 s`."""
    if elapsed < 60:
        return f"{elapsed:.1f}{THIN_SPACE}s" if elapsed < 10 else f"{elapsed:.0f}{THIN_SPACE}s"
    minutes, rest = divmod(round(elapsed), 60)
    return f"{minutes:,}{THIN_SPACE}min {rest:02d}{THIN_SPACE}s"
