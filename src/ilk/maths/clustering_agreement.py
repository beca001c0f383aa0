"""Agreement of two groupings of the same rows: normalized and adjusted mutual information.

Normalized mutual information rewards many small groups; adjusted mutual information subtracts what
random groupings of the same sizes have (Nguyen Xuan Vinh, Julien Epps, James Bailey, 2010,
Information Theoretic Measures for Clusterings Comparison, JMLR 11:2837-2854).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels

Vector = NDArray[np.float64]


def nmi(groups: Labels, y: Labels) -> float:
    """Return `2 I(groups; y) / (H(groups) + H(y))`, in [0, 1]; 1 if both are one group.

    Args:
        groups: Group of each row, `[n]`.
        y: Class of each row, `[n]`.
    """
    table = _count_pairs(groups, y)
    mean = (_compute_entropy(table.sum(1)) + _compute_entropy(table.sum(0))) / 2
    return _compute_information(table) / mean if mean > 0 else 1.0


def ami(groups: Labels, y: Labels) -> float:
    """Return the mutual information adjusted for chance: 0 for random groups, 1 for equal ones.

    `(I - E I) / ((H(groups) + H(y)) / 2 - E I)`, the expectation over groupings of these sizes.

    Args:
        groups: Group of each row, `[n]`.
        y: Class of each row, `[n]`.
    """
    table = _count_pairs(groups, y)
    sizes, counts = table.sum(1), table.sum(0)
    if len(sizes) == len(counts) == 1 or (len(sizes) == len(counts) == int(table.sum())):
        return 1.0  # no other grouping of these sizes exists
    expected = _compute_expected_information(sizes, counts)
    mean = (_compute_entropy(sizes) + _compute_entropy(counts)) / 2
    return (_compute_information(table) - expected) / (mean - expected)


def _count_pairs(groups: Labels, y: Labels) -> NDArray[np.int64]:
    """Return how many rows are in each group and class, `[g, k]`; every one has rows."""
    names, row = np.unique(groups, return_inverse=True)
    classes, column = np.unique(y, return_inverse=True)
    table = np.bincount(row * len(classes) + column, minlength=len(names) * len(classes))
    return table.reshape(len(names), len(classes)).astype(np.int64)


def _compute_entropy(counts: NDArray[Any]) -> float:
    p = counts / counts.sum()
    return float(-np.sum(p * np.log(p)))


def _compute_information(table: NDArray[np.int64]) -> float:
    n = table.sum()
    i, j = np.nonzero(table)
    joint = table[i, j] / n
    independent = table.sum(1)[i] / n * (table.sum(0)[j] / n)
    return max(0.0, float(np.sum(joint * np.log(joint / independent))))


def _compute_expected_information(sizes: NDArray[np.int64], counts: NDArray[np.int64]) -> float:
    """Return the mean mutual information of random groupings with these sizes (eq. 24a)."""
    from scipy.special import gammaln

    n = int(sizes.sum())
    (a_values, a_times), (b_values, b_times) = (
        np.unique(v, return_counts=True) for v in (sizes, counts)
    )
    total = 0.0
    for a, n_a in zip(a_values.tolist(), a_times.tolist(), strict=True):
        for b, n_b in zip(b_values.tolist(), b_times.tolist(), strict=True):
            shared = np.arange(max(1, a + b - n), min(a, b) + 1)
            log_p = (  # hypergeometric: `shared` of the a rows are among the b
                gammaln(a + 1)
                + gammaln(b + 1)
                + gammaln(n - a + 1)
                + gammaln(n - b + 1)
                - gammaln(n + 1)
                - gammaln(shared + 1)
                - gammaln(a - shared + 1)
                - gammaln(b - shared + 1)
                - gammaln(n - a - b + shared + 1)
            )
            information = shared / n * np.log(n * shared / (a * b))
            total += n_a * n_b * float(np.sum(information * np.exp(log_p)))
    return total
