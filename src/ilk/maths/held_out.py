"""A part of the rows that is held out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.core.errors import InputError
from ilk.maths.folds import assign_folds


def draw_held_out(y: Labels, groups: Labels, fraction: float, seed: int) -> NDArray[np.bool_]:
    """Return which rows `[n]` are held out: about `fraction` of each class, in whole groups.

    Args:
        y: Class of each row, `[n]`.
        groups: Group of each row, `[n]`; -1 is a group of its own.
        fraction: From 0, for none, to below 1.
        seed: Seed of the draw.

    Raises:
        InputError: `fraction` is out of range.
    """
    if not 0 <= fraction < 1:
        raise InputError(f"hold_out (--hold-out) is {fraction}; give a fraction from 0 to below 1")
    if not fraction:
        return np.zeros(len(y), bool)
    n_folds = max(2, round(1 / min(fraction, 1 - fraction)))
    is_first = np.asarray(assign_folds(y, n_folds, seed, groups) == 0)
    return is_first if fraction <= 0.5 else ~is_first
