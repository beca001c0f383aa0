"""Cross-validation folds for methods that choose a hyperparameter on held-out rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels


def assign_folds(y: Labels, n_folds: int, seed: int = 0, groups: Labels | None = None) -> Labels:
    """Return the fold that holds out each row, `[n]`, 0 to `n_folds` - 1, stratified by class.

    A class with fewer rows than folds is held out in as many folds as it has rows.

    Args:
        y: Class of each row, `[n]`, all >= 0.
        n_folds: Number of folds.
        seed: Seed of the shuffle.
        groups: Group of each row, `[n]`; a group lies in one fold. -1 is a group of its own, and
            None makes every row one.
    """
    order = np.random.default_rng(seed).permutation(len(y))
    if groups is not None and has_shared_groups(groups):
        return _assign_groups(y, n_folds, order, number_groups(groups))
    order = order[np.argsort(y[order], kind="stable")]
    fold = np.empty(len(y), np.int64)
    fold[order] = np.arange(len(y)) % n_folds  # dealt class by class: sizes differ by one row
    return fold


def count_folds(y: Labels, max_folds: int = 5, groups: Labels | None = None) -> int:
    """Return how many folds can be made, at most `max_folds`; below 2 means none.

    That is the number of rows `y [n]` of the largest class, or of its groups, where `groups [n]`
    has any.
    """
    return min(max_folds, int(count_groups(y, groups).max()))


def count_groups(y: Labels, groups: Labels | None = None) -> Labels:
    """Return the number of groups that have rows of each class, `[k]`.

    Args:
        y: Class of each row, `[n]`, all >= 0.
        groups: Group of each row, `[n]`; -1 is a group of its own, and None makes every row one.
    """
    if groups is None or not has_shared_groups(groups):
        return np.bincount(y, minlength=1)
    pairs = np.unique(np.column_stack([y, number_groups(groups)]), axis=0)
    return np.bincount(pairs[:, 0], minlength=1)


def number_groups(groups: Labels) -> Labels:
    """Return group numbers from 0 without gaps, `[n]`; every -1 in `groups [n]` gets its own."""
    is_single = groups < 0
    names, index = np.unique(groups[~is_single], return_inverse=True)
    numbers = np.empty(len(groups), np.int64)
    numbers[~is_single] = index
    numbers[is_single] = len(names) + np.arange(is_single.sum())
    return numbers


def share_group(groups: Labels, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which rows share a group with any of `rows` (positions), `[n]`, those included.

    Args:
        groups: Group of each row, `[n]`; -1 is a group of its own.
        rows: Positions, `[m]`.
    """
    shared = (groups >= 0) & np.isin(groups, groups[rows])
    shared[rows] = True
    return np.asarray(shared)


def share_votes(groups: Labels) -> NDArray[np.float64]:
    """Return the vote of each row, `[n]`: one per group, shared by its rows.

    Args:
        groups: Group of each row, `[n]`; -1 is a group of its own.
    """
    group = number_groups(groups)
    return np.asarray(1 / np.bincount(group)[group]) if len(group) else np.zeros(0)


def has_shared_groups(groups: Labels) -> bool:
    """Return whether any two rows share a group; `groups` are `[n]`, -1 for a group of its own."""
    known = groups[groups >= 0]
    return len(np.unique(known)) < len(known)


def _assign_groups(y: Labels, n_folds: int, order: Labels, group: Labels) -> Labels:
    """Deal whole groups, largest first, each to the fold with the fewest rows of its classes.

    Rows count relative to the size of their class, so that rare classes are spread too. The fold
    with the fewest rows breaks ties between folds, and `order [n]` breaks ties between groups.
    """
    k, n_groups = int(y.max()) + 1, int(group.max()) + 1
    counts = np.zeros((n_groups, k))
    np.add.at(counts, (group, y), 1)
    proportions = counts / np.maximum(counts.sum(0), 1)
    rank = np.full(n_groups, len(y))
    np.minimum.at(rank, group[order], np.arange(len(y)))
    load, sizes = np.zeros((n_folds, k)), np.zeros(n_folds)
    fold = np.empty(n_groups, np.int64)
    for g in np.lexsort((rank, -counts.sum(1))):
        overlap = load @ (proportions[g] > 0)
        fold[g] = np.lexsort((sizes, np.round(overlap, 9)))[0]
        load[fold[g]] += proportions[g]
        sizes[fold[g]] += counts[g].sum()
    return fold[group]
