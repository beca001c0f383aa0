"""`ImageError`: why a file cannot be used as an image."""

from __future__ import annotations


class ImageError(Exception):
    """A file that cannot be used as an image.

    Attributes:
        reason: One of `ilk.images.REASONS`.
        detail: Details for the message.
        is_permanent: False if the same bytes may be readable another time (disk failure, out of
            memory); such a result is not cached.
    """

    def __init__(self, reason: str, detail: str, *, is_permanent: bool = True) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail, self.is_permanent = reason, detail, is_permanent


def describe_start(head: bytes) -> str:
    """Return how a file begins: as text if it is text, else as bytes in hexadecimal digits."""
    start = head[:8]
    text = start.decode("ascii", "replace")
    if text.isprintable() and "\ufffd" not in text:
        return f"begins with the text “{text}”"
    return f"begins with the bytes {start.hex(' ')}"
