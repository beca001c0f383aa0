"""Which encoder suits these labels? Scores that need no classifier; one paper, one file.

A score is a file of this package with `NAME`, `READS` and `score(x, y) -> float`, the higher the
better; it is found by its file, there is nothing to register.
"""

from __future__ import annotations

from ilk.ranking.contract import Transferability, available, equalised, labelled
from ilk.ranking.standing import Standing, agreement, standing

__all__ = [
    "Standing",
    "Transferability",
    "agreement",
    "available",
    "equalised",
    "labelled",
    "standing",
]
