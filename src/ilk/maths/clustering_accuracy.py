"""Accuracy of groups against true classes.

Known classes are numbered first, 0 to k - 1, and unnamed groups after them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels


@dataclass(frozen=True)
class ClusteringAccuracy:
    """Fractions of correctly grouped rows, in [0, 1]; nan without such rows.

    Attributes:
        overall: Over all rows.
        old: Over rows of known classes.
        new: Over rows of new classes.
    """

    overall: float
    old: float
    new: float


def clustering_accuracy(
    true_classes: Labels, assignment: Labels, n_known: int
) -> ClusteringAccuracy:
    """Return the clustering accuracy under the best matching of groups and classes.

    A single matching covers all classes, as in generalized category discovery (Vaze et al. 2022,
    arXiv 2201.02609): old rows in a group that is matched to a new class are wrong, and so are all
    rows of groups beyond the number of classes.

    Args:
        true_classes: Class of each row, `[n]`; the `n_known` first are the old classes.
        assignment: Group of each row, `[n]`.
        n_known: Number of old classes.
    """
    groups, group_index = np.unique(assignment, return_inverse=True)
    n_classes = int(true_classes.max(initial=0)) + 1
    is_correct = _match_groups(group_index, true_classes, len(groups), n_classes)
    parts = (is_correct, is_correct[true_classes < n_known], is_correct[true_classes >= n_known])
    return ClusteringAccuracy(
        *(float(part.mean()) if len(part) else float("nan") for part in parts)
    )


def strict_accuracy(true_classes: Labels, assignment: Labels, n_known: int) -> ClusteringAccuracy:
    """Return the accuracy where a known class may match no group but its own.

    Groups from `n_known` on have no name: the best matching of these and the new classes names
    them. `clustering_accuracy` matches all groups, so that a known class may be counted right under
    the name of another, or as a new group; this figure is what a user sees.

    Args:
        true_classes: Class of each row, `[n]`; the `n_known` first are the known classes.
        assignment: Group of each row, `[n]`: the class itself below `n_known`, else an unnamed
            group.
        n_known: Number of known classes.
    """
    is_old, is_correct = true_classes < n_known, assignment == true_classes
    new = np.flatnonzero(assignment >= n_known)
    groups, index = np.unique(assignment[new], return_inverse=True)
    is_correct[new] = _match_groups(
        index, true_classes[new] - n_known, len(groups), int(true_classes.max(initial=0)) + 1
    )
    parts = (is_correct, is_correct[is_old], is_correct[~is_old])
    return ClusteringAccuracy(
        *(float(part.mean()) if len(part) else float("nan") for part in parts)
    )


def _match_groups(
    group_index: Labels, classes: Labels, n_groups: int, n_classes: int
) -> NDArray[np.bool_]:
    """Return which rows are right under the best matching of groups to classes >= 0, `[n]`."""
    from scipy.optimize import linear_sum_assignment

    width = max(n_groups, n_classes)
    contingency = np.zeros((width, width))
    is_counted = classes >= 0
    np.add.at(contingency, (group_index[is_counted], classes[is_counted]), 1)
    matched: NDArray[np.int64] = linear_sum_assignment(-contingency)[1]
    return np.asarray(matched[group_index] == classes)
