"""Folds of the training rows, for what a method chooses by holding rows out."""

from __future__ import annotations

import numpy as np

from ilk.data import Labels


def stratified(y: Labels, folds: int, seed: int = 0) -> Labels:
    """Which of `folds` parts holds each row out, `[n]`: every class spread as evenly as it goes.

    A class with fewer rows than folds is held out in as many folds as it has rows.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(y))
    order = order[np.argsort(y[order], kind="stable")]
    part = np.empty(len(y), np.int64)
    part[order] = np.arange(len(y)) % folds  # dealt class after class: parts differ by one row
    return part


def count(y: Labels, most: int = 5) -> int:
    """Folds that can be made: `most`, or the size of the largest class; below 2 means none."""
    return min(most, int(np.bincount(y).max()))
