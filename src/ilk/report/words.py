"""Numbers as people read them, and names made safe to show."""

from __future__ import annotations

import re
from math import isnan
from pathlib import Path

from markupsafe import Markup

from ilk.metrics import Interval

LONGEST = 64  # characters of a name that are shown; the middle of a longer one is left out
THIN = "\u202f"  # narrow no-break space: keeps a number and its unit on one line

# Control characters, and the marks that turn the direction of the text after them.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufffe\uffff]")


def plain(text: str) -> str:
    """`text` as it can be written in UTF-8: odd bytes and unseen characters spelled out.

    >>> plain("caf\\udce9")
    'caf\\\\xe9'
    """
    try:
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # a lone surrogate that no file system call made
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return _UNSEEN.sub(lambda m: m[0].encode("unicode_escape").decode("ascii"), text)


def spoken(text: str) -> str:
    """`text` as a sentence: a capital, a full stop, and no break before a percent sign.

    >>> spoken("name the kind of an image")
    'Name the kind of an image.'
    """
    text = re.sub(r"(?<=\d) %", f"{THIN}%", plain(text)).strip()
    stop = "" if not text or text[-1] in ".!?…" else "."
    return text[:1].upper() + text[1:] + stop


def wrapped(path: str) -> Markup:
    """A path that may break after each slash, and nowhere else if it can be helped."""
    return Markup("/<wbr>").join(path.split("/"))


def brief(text: str) -> str:
    """`plain` text of bounded length: the middle of a long name gives way to an ellipsis."""
    text = plain(text)
    half = (LONGEST - 1) // 2
    return text if len(text) <= LONGEST else f"{text[:half]}…{text[-half:]}"


def name_of(path: str | Path, root: Path | None = None) -> str:
    """A file for people: relative to `root` where it lies below it, else its last two parts."""
    path = Path(path)
    if root is not None and path.is_relative_to(root):
        path = path.relative_to(root)
    elif path.is_absolute():
        path = Path(*path.parts[-2:])
    return brief(path.as_posix())


def count(n: int, one: str, many: str = "") -> str:
    """`1 image`, `1,258 images`."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def bare(share: float, digits: int = 1) -> str:
    """A share in percent without its sign; never rounded up to 100 nor down to 0."""
    if isnan(share):
        return "–"
    step = 10.0**-digits
    percent = 100 * share
    if 100 - step / 2 <= percent < 100:
        return f">{100 - step:.{digits}f}"
    if 0 < percent < step / 2:
        return f"<{step:.{digits}f}"
    return f"{percent:.{digits}f}"


def percent(share: float, digits: int = 1) -> str:
    """`98.3 %`."""
    return bare(share, digits) + ("" if isnan(share) else THIN + "%")


def level(share: float) -> str:
    """A level as it was asked: `90 %`, `99.5 %`."""
    return f"{100 * share:.4g}{THIN}%"


def between(interval: Interval) -> str:
    """`96.9 to 99.1 %`."""
    return f"{bare(interval.low)} to {percent(interval.high)}"


def with_range(interval: Interval) -> str:
    """`98.3 % (95 % interval 96.9 to 99.1 %)`."""
    return f"{percent(interval.value)} ({level(interval.level)} interval {between(interval)})"


def listed(items: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def seconds(spent: float) -> str:
    """`0.4 s`, `12 s`, `3 min 20 s`."""
    if spent < 60:
        return f"{spent:.1f}{THIN}s" if spent < 10 else f"{spent:.0f}{THIN}s"
    minutes, rest = divmod(round(spent), 60)
    return f"{minutes:,}{THIN}min {rest:02d}{THIN}s"
