"""`Item`: an image to label, known by its content."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """An image of the folder.

    Attributes:
        digest: SHA-256 of its content, hex; moving or renaming the file does not change it.
        path: Where it was found, relative to the folder, with `/` as separator.
        given_label: The class that the folder or table gives it, None if unknown.
    """

    digest: str
    path: str
    given_label: str | None = None


def draw_numbers(digests: Sequence[str], seed: int, purpose: str) -> list[float]:
    """Return a number in [0, 1) for each image, uniform over images and fixed for each of them.

    An image keeps its number when others come or go, so the images below a threshold remain a
    random sample of those that are there.

    Args:
        digests: The images.
        seed: Another seed gives other numbers.
        purpose: Another purpose gives numbers that are independent of these.
    """
    hashes = (hashlib.sha256(f"{purpose}:{seed}:{d}".encode()).digest() for d in digests)
    return [int.from_bytes(h[:7]) / 2**56 for h in hashes]
