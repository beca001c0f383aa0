"""Generalized category discovery: unlabelled rows of known and of unknown classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ilk.core.data import UNLABELLED, Data
from ilk.core.errors import InputError
from ilk.protocols.step import Step


def unseen_classes(
    data: Data, n_hidden: int, labelled_fraction: float = 0.5, seed: int = 0
) -> Step:
    """Hide the labels of `n_hidden` random classes and of part of the rows of the others.

    All unlabelled rows are to be grouped (Vaze et al. 2022, arXiv 2201.02609). `train.classes` are
    the known classes alone. `test` holds the unlabelled rows with their true class, and its classes
    are the known ones, in the same order, followed by the hidden ones.

    Args:
        data: Labelled rows.
        n_hidden: Number of classes without any label.
        labelled_fraction: Fraction of the rows of each known class that keeps its label, in (0, 1].
        seed: Seed of classes and rows.

    Raises:
        InputError: If no class or every class would be hidden, or no row would be unlabelled.
    """
    if not 1 <= n_hidden < data.k:
        raise InputError(f"{n_hidden} of {data.k} classes cannot be hidden; hide 1 to {data.k - 1}")
    if not 0 < labelled_fraction <= 1:
        raise InputError(f"labelled_fraction is {labelled_fraction}; give a fraction in (0, 1]")
    rng = np.random.default_rng(seed)
    permutation = rng.permutation(data.k)
    order = np.concatenate([np.sort(permutation[n_hidden:]), np.sort(permutation[:n_hidden])])
    n_known = data.k - n_hidden
    y = np.where(data.y >= 0, np.argsort(order)[data.y], UNLABELLED)
    is_labelled = np.zeros(len(data), bool)
    for c in range(n_known):
        rows = rng.permutation(np.flatnonzero(y == c))
        is_labelled[rows[: max(1, round(labelled_fraction * len(rows)))]] = True
    reordered = replace(data, y=y, **data.select_class_fields(order))
    rows = np.flatnonzero(~is_labelled & (y >= 0))
    if not len(rows):
        raise InputError(
            f"labelled_fraction {labelled_fraction} and {n_hidden} hidden classes without rows "
            "leave no row unlabelled; give a smaller fraction"
        )
    train = replace(
        reordered,
        y=np.where(is_labelled, y, UNLABELLED),
        **data.select_class_fields(order[:n_known]),
    )
    return Step(train, reordered.take(rows), rows)
