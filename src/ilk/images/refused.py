"""`Refused`: a file that gives no image."""

from __future__ import annotations


class Refused(Exception):
    """A file that gives no image.

    Attributes:
        reason: One of `ilk.images.REASONS`.
        detail: The rest of the sentence.
        lasting: False if the same bytes may well be read another time (a disk that fails, too
            little memory); such a verdict is not remembered.
    """

    def __init__(self, reason: str, detail: str, *, lasting: bool = True) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail, self.lasting = reason, detail, lasting
