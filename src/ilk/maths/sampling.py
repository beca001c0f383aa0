"""Random samples of labelled rows, in proportion to the classes."""

from __future__ import annotations

import numpy as np

from ilk.core.data import Labels
from ilk.maths.folds import has_shared_groups, number_groups


def sample_by_class(y: Labels, n: int, seed: int = 0, group: Labels | None = None) -> Labels:
    """Return ascending positions of about `n` random rows, at least two of each class.

    Every class has the same fraction of its rows, rounded up. Where rows share groups, whole
    groups are drawn until there are `n` rows, so that a class may have more or fewer.

    Args:
        y: Class of each row, `[m]`.
        n: Number of rows; all of them where there are no more.
        seed: Seed of the draw.
        group: Group of each row, `[m]`; -1 is a group of its own, and None makes every row one.
    """
    if len(y) <= n:
        return np.arange(len(y))
    order = np.random.default_rng(seed).permutation(len(y))
    if group is not None and has_shared_groups(group):
        return _sample_groups(order, number_groups(group), n)
    order = order[np.argsort(y[order], kind="stable")]
    counts = np.bincount(y)
    wanted = np.minimum(counts, np.maximum(2, np.ceil(counts * (n / len(y))))).astype(np.int64)
    rank = np.arange(len(y)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(order[rank < wanted[y[order]]])


def _sample_groups(order: Labels, group: Labels, n: int) -> Labels:
    """Return the rows of groups, in random order, up to the group that completes `n` rows."""
    drawn = group[order]
    first = np.sort(np.unique(drawn, return_index=True)[1])
    groups = drawn[first]
    total = np.cumsum(np.bincount(group)[groups])
    kept = groups[: int(np.searchsorted(total, n)) + 1]
    return np.flatnonzero(np.isin(group, kept))
