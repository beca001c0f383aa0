"""Which encoder suits these labels? Scores that need no classifier; one paper, one file.

A score is a file of this package with `NAME`, `READS` and `score(x, y) -> float`, the higher the
better; it is found by its file, there is nothing to register.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from ilk.ranking.contract import Transferability, equalised, labelled
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


@cache
def available() -> dict[str, Transferability]:
    """Every score by name: the modules here that have one."""
    found: dict[str, Transferability] = {}
    for info in iter_modules(__path__):
        module = import_module(f"{__name__}.{info.name}")
        if hasattr(module, "score"):
            found[module.NAME] = module
    return found
