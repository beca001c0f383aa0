"""Class statistics of rows that arrive block by block, in one pass and for several parts at once.

Each row is compared with a shift of its class, the mean of the first block that has the class:

    s_c = sum_i (x_i - a_c),   G = sum_i (x_i - a_yi) (x_i - a_yi)',   W = G - sum_c s_c s_c' / n_c

so that the between-class part never enters G and next to nothing cancels in W. Products are float32
on shifted rows, sums float64, as in `ilk.maths.gaussian.compute_statistics`, which needs two passes
and all rows. Parts (the folds of a cross-validation) are merged, and left out, by the identities of
Chan, Golub and LeVeque (1979, Updating Formulae and a Pairwise Algorithm for Computing Sample
Variances, equation 2.1), so that sums of several machines can be added in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.core.errors import InputError
from ilk.core.statistics import Statistics
from ilk.maths.gaussian import merge_statistics, sum_by_class

Matrix = NDArray[np.float64]

CHUNK_SIZE = 4096  # rows per matrix product


class StreamedStatistics:
    """Sums of rows of `n_parts` parts, from which the statistics of each part follow.

    Args:
        k: Number of classes.
        d: Number of features.
        n_parts: Number of parts.
    """

    def __init__(self, k: int, d: int, n_parts: int = 1) -> None:
        self.counts = np.zeros((n_parts, k), np.int64)
        self.shift = np.zeros((k, d), np.float32)
        self.sums = np.zeros((n_parts, k, d))
        self.products = np.zeros((n_parts, d, d))

    def add(self, x: NDArray[Any], y: Labels, part: Labels | None = None) -> None:
        """Add rows.

        Args:
            x: Features, `[b, d]`, of any float type.
            y: Class of each row, `[b]`, 0 to k - 1.
            part: Part of each row, `[b]`; None puts all into the first.

        Raises:
            InputError: A feature is not finite.
        """
        self._set_shifts(x, y)
        members = [np.arange(len(y))] if part is None else _list_members(part, len(self.counts))
        for p, rows in enumerate(members):
            for at in range(0, len(rows), CHUNK_SIZE):
                self._add_chunk(p, x, y, rows[at : at + CHUNK_SIZE])

    def _add_chunk(self, p: int, x: NDArray[Any], y: Labels, rows: Labels) -> None:
        z, own = x[rows].astype(np.float32, copy=False), y[rows]
        z -= self.shift[own]
        with np.errstate(over="ignore", invalid="ignore"):
            products = z.T @ z
            sums = sum_by_class(z, own, len(self.shift))
        if not (np.isfinite(products.trace()) and np.isfinite(sums).all()):
            raise InputError(
                "some features are not finite; encode the images again with another encoder or "
                "--precision float32"
            )
        self.products[p] += products
        self.sums[p] += sums
        self.counts[p] += np.bincount(own, minlength=len(self.shift))

    def _set_shifts(self, x: NDArray[Any], y: Labels) -> None:
        """Set the shift of classes that were not seen before to their mean in this block."""
        is_new = (self.counts.sum(0) == 0) & (np.bincount(y, minlength=len(self.shift)) > 0)
        if not is_new.any():
            return
        rows = np.flatnonzero(is_new[y])
        z = x[rows].astype(np.float32)
        n = np.bincount(y[rows], minlength=len(self.shift))
        means = sum_by_class(z, y[rows], len(self.shift)) / np.maximum(n, 1)[:, None]
        self.shift[is_new] = np.nan_to_num(means[is_new])

    def to_statistics(self, part: int = 0) -> Statistics:
        """Return counts, means and within-class scatter of the rows of a part."""
        counts, sums = self.counts[part], self.sums[part]
        divisor = np.where(counts > 0, counts, 1)[:, None]
        root = sums / np.sqrt(divisor)
        scatter = self.products[part] - root.T @ root
        means = np.where(counts[:, None] > 0, self.shift + sums / divisor, 0.0)
        return Statistics(counts.copy(), means, (scatter + scatter.T) / 2)

    def to_parts(self) -> tuple[Statistics, ...]:
        """Return the statistics of each part."""
        return tuple(self.to_statistics(p) for p in range(len(self.counts)))


def merge_parts(parts: Sequence[Statistics]) -> Statistics:
    """Return the statistics of the rows of all parts together, merged pairwise.

    Raises:
        ValueError: If there is no part.
    """
    if not parts:
        raise ValueError("there are no statistics to merge")
    merged = list(parts)
    while len(merged) > 1:
        pairs = [merge_statistics(a, b) for a, b in zip(merged[::2], merged[1::2], strict=False)]
        merged = pairs + merged[2 * len(pairs) :]
    return merged[0]


def _list_members(part: Labels, n_parts: int) -> list[Labels]:
    """Return the positions of the rows of each part, ascending."""
    order = np.argsort(part, kind="stable")
    return np.split(order, np.searchsorted(part[order], np.arange(1, n_parts)))
