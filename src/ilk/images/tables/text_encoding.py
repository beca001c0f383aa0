"""Text of tables and lists: UTF-8, UTF-16, and Windows-1252 as Excel saves CSV.

Bytes that are not UTF-8 become lone surrogates (PEP 383), so that paths keep their bytes. In other
cells they are decoded as Windows-1252 where the result looks like text, and never stay.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence

ENCODING = "Windows-1252"
_ESCAPED = re.compile("[\udc80-\udcff]")
_LETTER = "À-ÖØ-öø-ÿŠšŽžŒœŸ"
_SIGN = "\xa0¡£§«°²³´µ·»¼½¾¿–—‘’…€"
_ALLOWED = re.compile(rf"[\x00-\x7f{_LETTER}{_SIGN}]*")
_SUSPICIOUS = re.compile(
    rf"[{_LETTER}]{{3}}"  # Cyrillic and other scripts: words of such letters
    r"|[a-z][À-ÖØ-ÞŠŽŒŸ]|[A-Z][À-ÖØ-ÞŠŽŒŸ][a-z]"  # Mac OS Roman: a capital letter inside a word
    rf"|\w[^\w\s\x00-\x7f’‘´·–—°]\w"  # DOS code pages: a sign inside a word
)
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def decode_text(data: bytes) -> str:
    """Decode UTF-8, or UTF-16 with or without a byte order mark; other bytes become surrogates.

    Raises:
        UnicodeError: There is a mark of UTF-16 or UTF-32, but no such text.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return data.decode(encoding)
    if encoding := _guess_utf16(data):
        return data.decode(encoding)
    return data.decode("utf-8-sig", "surrogateescape")


def _guess_utf16(data: bytes) -> str:
    """Return the UTF-16 that text without a mark is in, or "": every second byte is mostly 0."""
    head = data[: min(len(data), 4096) & ~1]
    zeros = [head[i::2].count(0) / max(1, len(head) // 2) for i in (0, 1)]
    if len(data) % 2 or max(zeros) < 0.5 or min(zeros) > 0.05:
        return ""
    return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"


def has_undecoded(text: object) -> bool:
    """Whether `text` is a string with bytes that are not UTF-8."""
    return isinstance(text, str) and _ESCAPED.search(text) is not None


def decode_windows(text: str) -> str:
    """Return `text` with its undecoded bytes read as Windows-1252; unchanged if that is not text.

    >>> decode_windows("B\\udce4r"), decode_windows("\\udcca\\udcee\\udcf8\\udcea\\udce0")
    ('Bär', '\\udcca\\udcee\\udcf8\\udcea\\udce0')
    """
    try:
        decoded = _ESCAPED.sub(lambda m: bytes([ord(m[0]) - 0xDC00]).decode("cp1252"), text)
    except UnicodeDecodeError:
        return text
    is_text = _ALLOWED.fullmatch(decoded) and not _SUSPICIOUS.search(decoded)
    return decoded if is_text else text


def describe_decoded(pairs: Sequence[tuple[str, str]]) -> str:
    """Say that texts were decoded, as a note; "" if none was.

    Args:
        pairs: Texts before and after.
    """
    changed = [after for before, after in pairs if before != after]
    if not changed:
        return ""
    return (
        f"is not UTF-8 and was read as {ENCODING} (such as {changed[0]!r}); if that is wrong, save "
        "it as UTF-8"
    )
