"""One class is normal, the rest is not: learn from normal rows alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ilk.data import Data
from ilk.errors import InputError, UnknownName
from ilk.protocols.step import Step

NAMES = ("normal", "anomalous")


def one_normal(data: Data, normal: str, held: float = 0.3, seed: int = 0) -> Step:
    """Train on rows of class `normal`; answer for those held out (0) and all other rows (1).

    Raises:
        UnknownName: There is no such class.
        InputError: Fewer than two rows are normal, or the share held out is not in (0, 1).
    """
    if normal not in data.classes:
        raise UnknownName("class", normal, data.classes)
    if not 0 < held < 1:
        raise InputError(f"a share of {held} cannot be held out; give one in (0, 1)")
    is_normal = data.y == data.classes.index(normal)
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(is_normal))
    if len(rows) < 2:
        raise InputError(f"{normal!r} has {len(rows)} rows; normal needs two at the least")
    kept = max(1, min(len(rows) - 1, round(held * len(rows))))
    tested = np.sort(np.append(rows[:kept], np.flatnonzero(~is_normal & (data.y >= 0))))
    y = np.where(data.y < 0, -1, np.where(is_normal, 0, 1))
    told = replace(data, y=y, classes=NAMES, hints=None)
    return Step(told.rows(np.sort(rows[kept:])), told.rows(tested), tested)
