"""Cross-validation folds that balance every label.

Konstantinos Sechidis, Grigorios Tsoumakas, Ioannis Vlahavas, 2011, On the Stratification of
Multi-label Data, doi:10.1007/978-3-642-23808-6_10, algorithm 1 (iterative stratification): the
label with the fewest rows left is dealt first, each row to the fold that lacks most rows of it.
Departure: the unit that is dealt is a group of rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.core.errors import InputError
from ilk.maths.folds import number_groups

Targets = NDArray[np.bool_]  # [n, k], whether each label applies


def iterative_stratification(
    targets: Targets, n_folds: int = 5, seed: int = 0, groups: Labels | None = None
) -> Labels:
    """Return the fold that tests each row, `[n]`, 0 to F - 1.

    Args:
        targets: Whether each label applies, `[n, k]`.
        n_folds: Number of folds, >= 2; F is this, or the number of groups if that is smaller.
        seed: Seed of the order of rows and of ties.
        groups: Group of each row, `[n]`; a group lies in one fold. -1 is a group of its own, and
            None makes every row one.

    Raises:
        InputError: Fewer than two folds are requested, or there are fewer than two groups.
    """
    n = len(targets)
    group = np.arange(n) if groups is None else number_groups(np.asarray(groups, np.int64))
    n_groups = int(group.max(initial=-1)) + 1
    if n_folds < 2 or n_groups < 2:
        raise InputError(
            f"cross-validation needs at least 2 folds and 2 groups of images; {n_folds} folds were "
            f"requested and there are {n_groups} groups"
        )
    counts = np.zeros((n_groups, targets.shape[1]))
    np.add.at(counts, group, targets)
    sizes = np.bincount(group, minlength=n_groups).astype(float)
    return _deal_groups(counts, sizes, min(n_folds, n_groups), np.random.default_rng(seed))[group]


def _deal_groups(
    counts: NDArray[np.float64], sizes: NDArray[np.float64], n_folds: int, rng: np.random.Generator
) -> Labels:
    """Return the fold of each group.

    Args:
        counts: Rows of each label in each group, `[g, k]`.
        sizes: Rows of each group, `[g]`.
        n_folds: Number of folds.
        rng: Breaks ties.
    """
    lacking_labels = np.tile(counts.sum(0) / n_folds, (n_folds, 1))
    lacking_rows = np.full(n_folds, sizes.sum() / n_folds)
    fold = np.full(len(counts), -1, np.int64)
    order = rng.permutation(len(counts))
    order = order[np.argsort(-sizes[order], kind="stable")]  # large groups first
    members = [order[counts[order, label] > 0] for label in range(counts.shape[1])]
    n_left = (counts > 0).sum(0)

    def deal(group: int, wanted: NDArray[np.float64]) -> None:
        tie = rng.random(n_folds)
        f = int(np.lexsort((tie, -np.round(lacking_rows, 9), -np.round(wanted, 9)))[0])
        fold[group] = f
        lacking_labels[f] -= counts[group]
        lacking_rows[f] -= sizes[group]
        n_left[counts[group] > 0] -= 1

    while n_left.any():
        label = int(np.where(n_left > 0, n_left, len(counts) + 1).argmin())
        for group in members[label]:
            if fold[group] < 0:
                deal(group, lacking_labels[:, label])
    for group in order:
        if fold[group] < 0:
            deal(group, lacking_rows)
    return fold
