"""Which rows are kept, given how useful each is and what becomes of the classes."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels

Mode = Literal["proportional", "balanced", "free"]
"""Classes keep their proportions, get equal counts as far as they have rows, or compete."""


def choose_rows(
    scores: NDArray[np.float64], y: Labels, count: int, mode: Mode
) -> NDArray[np.int64]:
    """Return the positions of `count` rows, the highest scores first; ties by position.

    Args:
        scores: How useful each row is, `[n]`.
        y: Class of each row, `[n]`; rows without one, -1, are a class of their own.
        count: Number of rows, from the number of classes (1 if mode is "free") to n.
        mode: What becomes of the classes; at least one row of each is kept unless it is "free".

    Raises:
        ValueError: `count` is out of range.
    """
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    if not 1 <= count <= len(order):
        raise ValueError(f"{count} of {len(order)} rows")
    if mode == "free":
        return order[:count]
    parts, part = np.unique(y, return_inverse=True)
    quotas = allot(np.bincount(part, minlength=len(parts)), count, mode)
    place = np.zeros(len(order), np.int64)  # of a row in its class, 0 for the best
    for c in range(len(parts)):
        rows = order[part[order] == c]
        place[rows] = np.arange(len(rows))
    return order[place[order] < quotas[part[order]]]


def allot(sizes: NDArray[np.int64], count: int, mode: Mode) -> NDArray[np.int64]:
    """Return how many rows of each class are kept, `[k]`: at least 1, at most its size.

    Args:
        sizes: Rows of each class, `[k]`, all >= 1.
        count: Number of rows to keep, from k to their sum.
        mode: "proportional", by largest remainders, or "balanced", equal as far as they last.

    Raises:
        ValueError: `count` is out of range.
    """
    if not len(sizes) <= count <= sizes.sum():
        raise ValueError(f"{count} rows of {len(sizes)} classes with {sizes.sum()} rows")
    if mode == "balanced":
        return _fill_evenly(sizes, count)
    exact = sizes * (count / sizes.sum())
    quotas = np.clip(np.floor(exact).astype(np.int64), 1, sizes)
    while quotas.sum() > count:  # because of classes that got one in place of none
        quotas[np.argmax(np.where(quotas > 1, quotas - exact, -np.inf))] -= 1
    while quotas.sum() < count:
        quotas[np.argmax(np.where(quotas < sizes, exact - quotas, -np.inf))] += 1
    return np.asarray(quotas)


def _fill_evenly(sizes: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return equal counts, where classes that run out leave their share to the others."""
    quotas, left = np.zeros(len(sizes), np.int64), count
    while left:
        is_open = quotas < sizes
        step = max(1, left // int(is_open.sum()))
        for c in np.flatnonzero(is_open):
            more = min(step, int(sizes[c] - quotas[c]), left)
            quotas[c] += more
            left -= more
    return quotas
