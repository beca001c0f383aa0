"""What a classifier stores of its training images in order to be extended or adapted: no image.

Counts, class means and the pooled scatter determine Gaussians with one covariance, and statistics
of further rows can be merged into them. The features of a bounded number of rows are stored with
their out-of-fold logits and scores, to recalibrate after a change.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import UNGROUPED, Data, Features, Labels, Logits
from ilk.core.errors import InputError
from ilk.core.part_bounds import NON_NEGATIVE, Bounds
from ilk.core.statistics import Statistics
from ilk.maths.folds import has_shared_groups, number_groups
from ilk.maths.gaussian import compute_statistics

MAX_ROWS = 2_000  # held-out rows to store; they determine the coverage to 0.7 points
MAX_VALUES = 2**21  # numbers in their features: 8 MB
MAX_WIDTH = 4096  # features; the scatter of more would be larger than most encoders
Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SummaryStatistics:
    """Statistics of all labelled rows, and out-of-fold results of `m` of them.

    Attributes:
        counts: Rows of each class, `[k]` int64.
        means: Class means, `[k, d]` float64; zeros for a class without rows. d is 0 if the features
            are too wide or class scores: the classifier can then be adapted but not extended.
        scatter_triangle: Lower triangle of the within-class scatter, row by row,
            `[d (d + 1) / 2]` float64.
        x: Features of the stored rows, `[m, d]` float32, sorted by class.
        y: Their classes, `[m]` int64.
        logits: Their out-of-fold logits, `[m, k]` float32.
        unknown_score: Their out-of-fold out-of-distribution scores, `[m]` float64.
        group: Their groups, `[m]` int64, numbers without a meaning; -1 for a group of its own. All
            rows of a group are stored, or none, unless a class has no smaller group. Empty is -1
            for each.
    """

    kind: ClassVar[str] = "summary_statistics"
    shapes: ClassVar[dict[str, str]] = {
        "counts": "k",
        "means": "k d",
        "scatter_triangle": "t",
        "x": "m w",
        "y": "m",
        "logits": "m k",
        "unknown_score": "m",
        "group": "m?",
    }
    bounds: ClassVar[dict[str, Bounds]] = {
        "group": (UNGROUPED, math.inf),
        "counts": NON_NEGATIVE,
        "y": NON_NEGATIVE,
        "unknown_score": NON_NEGATIVE,
    }

    counts: Labels
    means: Matrix
    scatter_triangle: Matrix
    x: Features
    y: Labels
    logits: Features
    unknown_score: Matrix
    group: Labels = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def groups(self) -> Labels:
        """Group of each stored row, `[m]`, -1 for a group of its own."""
        return self.group if len(self.group) else np.full(len(self.y), UNGROUPED)

    def check_width(self, x: Features) -> None:
        """Raise InputError unless `x` is `[n, width]`."""
        check_feature_width(x, self.width)

    def check_consistent(self) -> None:
        """Raise ValueError unless the arrays, as read from a file, describe the same rows."""
        width, n_stored = self.width, len(self.y)
        if len(self.scatter_triangle) != width * (width + 1) // 2:
            raise ValueError(f"the scatter is not that of {width} features")
        if n_stored and (self.x.shape[1] != width or int(self.y.max()) >= len(self.counts)):
            raise ValueError("the stored rows are of other features or classes")

    @property
    def width(self) -> int:
        """Number of features."""
        return int(self.means.shape[1])

    @property
    def statistics(self) -> Statistics:
        """Counts, means and the full scatter matrix."""
        scatter = np.zeros((self.width, self.width))
        scatter[np.tril_indices(self.width)] = self.scatter_triangle
        return Statistics(self.counts, self.means, scatter + np.tril(scatter, -1).T)

    @classmethod
    def from_data(
        cls,
        data: Data,
        logits: Matrix,
        is_tested: NDArray[np.bool_],
        unknown_score: Matrix,
        stats: Statistics | None = None,
    ) -> SummaryStatistics:
        """Summarize labelled rows and select the rows to store.

        Args:
            data: Labelled rows, `[n, d]`.
            logits: Out-of-fold logits, `[n, k]`.
            is_tested: Which rows have out-of-fold logits, `[n]`.
            unknown_score: Out-of-fold out-of-distribution scores, `[n]`; nan for rows without.
            stats: Statistics of all rows, where `data` is a sample of them.
        """
        if stats is None:
            stats = compute_statistics(data.x, data.y, data.k, weight=data.sample_weight)
        group = data.group if has_shared_groups(data.group) else None
        order = shuffle_within_classes(data.y, group)
        order = order[(is_tested & np.isfinite(unknown_score))[order]]
        selected = select_first_rows(
            data.y[order],
            data.count_labels(),
            stats.means.shape[1],
            None if group is None else group[order],
        )
        rows = order[selected]
        return cls.from_statistics(
            stats,
            data.x[rows],
            data.y[rows],
            logits[rows],
            unknown_score[rows],
            None if group is None else group[rows],
        )

    @classmethod
    def from_statistics(
        cls,
        stats: Statistics,
        x: Features,
        y: Labels,
        logits: Logits,
        unknown_score: Matrix,
        group: Labels | None = None,
    ) -> SummaryStatistics:
        """Return the summary of given statistics and rows.

        Args:
            stats: Statistics of all rows.
            x: Features of the rows to store, `[m, d]`.
            y: Their classes, `[m]`.
            logits: Their out-of-fold logits, `[m, k]`.
            unknown_score: Their out-of-fold out-of-distribution scores, `[m]`.
            group: Their groups, `[m]`, -1 for a group of its own; None for no groups.
        """
        groups = np.zeros(0, np.int64) if group is None else np.asarray(group, np.int64)
        triangle = stats.scatter[np.tril_indices(len(stats.scatter))]
        rows = np.asarray(x, np.float32), y, np.asarray(logits, np.float32), unknown_score
        return cls(stats.counts, stats.means, triangle, *rows, groups)


def shuffle_within_classes(y: Labels, group: Labels | None = None) -> Labels:
    """Return positions of all rows, sorted by class and shuffled within each.

    The order of a class does not depend on the other classes. Rows of a group follow each other.

    Args:
        y: Classes, `[n]`.
        group: Groups, `[n]`, -1 for a group of its own; None makes every row one.
    """
    class_rows = [np.flatnonzero(y == c) for c in np.unique(y)]
    shuffled = [np.random.default_rng(0).permutation(rows) for rows in class_rows]
    if group is not None:
        shuffled = [rows[_order_by_first(number_groups(group[rows]))] for rows in shuffled]
    return np.concatenate([np.zeros(0, np.int64), *shuffled])


def _order_by_first(group: Labels) -> Labels:
    """Return the order of rows `[n]` in which groups follow each other by their first row."""
    first = np.unique(group, return_index=True)[1]
    return np.argsort(first[group], kind="stable")


def check_feature_width(x: Features, width: int) -> None:
    """Raise InputError where `x` is not `[n, width]`."""
    if np.ndim(x) != 2 or np.shape(x)[1] != width:
        raise InputError(
            f"these features have shape {np.shape(x)} and the classifier was fitted on {width} "
            "features per image: they come from another encoder; use the classifier's own"
        )


def select_first_rows(y: Labels, counts: Labels, width: int, group: Labels | None = None) -> Labels:
    """Return positions of the first rows of each class, in proportion to its size.

    As `counts` grow fewer rows are selected, always the first ones, so that the selection from a
    class does not depend on the order in which classes are added. Groups are selected as a whole,
    or not at all, where that leaves a class some rows.

    Args:
        y: Classes of the candidate rows, `[m]`.
        counts: Rows of each class, `[k]`.
        width: Number of features.
        group: Groups of the candidate rows, `[m]`, -1 for a group of its own; None makes every row
            one.
    """
    rate = min(1.0, min(MAX_ROWS, MAX_VALUES // max(1, width)) / max(1, int(counts.sum())))
    max_per_class = np.ceil(rate * counts)
    order = np.argsort(y, kind="stable")
    rank = np.arange(len(y)) - np.searchsorted(y[order], y[order])
    is_first = rank < max_per_class[y[order]]
    if group is not None:
        number = number_groups(group)[order]
        is_cut = np.isin(number, number[~is_first])
        emptied = np.setdiff1d(y[order][is_first], y[order][is_first & ~is_cut])
        is_first &= ~is_cut | np.isin(y[order], emptied)
    return np.asarray(order[is_first])
