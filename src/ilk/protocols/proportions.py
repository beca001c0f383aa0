"""Class frequencies: long-tailed training data and label shift in test data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Data, Labels
from ilk.core.errors import InputError


def long_tail(data: Data, ratio: float, max_rows: int | None = None, seed: int = 0) -> Data:
    """Subsample class c to `max_rows * ratio ** (-rank / (k - 1))` labelled rows.

    The exponential profile is that of Cui et al. 2019, arXiv 1901.05555; the rank of each class is
    random. Every class keeps at least one row; unlabelled rows stay, and all keep their order.

    Args:
        data: Rows, with labelled ones of every class.
        ratio: Size of the largest class over that of the smallest, >= 1.
        max_rows: Size of the largest class, at most that of the smallest class in `data`, which is
            the default.
        seed: Seed of ranks and rows.

    Raises:
        InputError: If `ratio` is below 1 or not finite, `max_rows` is below 1, or a class has no
            labelled row.
    """
    counts = data.count_labels()
    if not 1 <= ratio < np.inf:
        raise InputError(f"ratio is {ratio}; give the largest over the smallest class size, >= 1")
    if max_rows is not None and max_rows < 1:
        raise InputError(f"max_rows is {max_rows}; give at least 1")
    if not data.k or not counts.all():
        empty = [name for name, n in zip(data.classes, counts, strict=True) if not n]
        raise InputError(
            f"no labelled row of {', '.join(empty) or 'any class'}, and every class needs one; "
            "remove classes without rows"
        )
    rng = np.random.default_rng(seed)
    largest = int(counts.min() if max_rows is None else min(counts.min(), max_rows))
    rank = rng.permutation(data.k) / max(1, data.k - 1)
    return data.take(
        _draw_per_class(data, np.maximum(1, np.round(largest * ratio**-rank)).astype(np.int64), rng)
    )


def label_shift(
    data: Data, priors: Sequence[float] | NDArray[Any], n: int | None = None, seed: int = 0
) -> Data:
    """Draw `n` labelled rows in random order, without replacement, with class priors `priors`.

    Class sizes are rounded by largest remainders so that they sum to `n`. Unlabelled rows are
    dropped.

    Args:
        data: Rows.
        priors: Class priors, `[k]`, >= 0 with sum 1.
        n: Number of rows; by default the most that the classes allow.
        seed: Seed of the draw.

    Raises:
        InputError: If `priors` are not probabilities, or a class has too few rows.
    """
    prior, counts = np.asarray(priors, np.float64), data.count_labels()
    if prior.shape != (data.k,) or not ((prior >= 0).all() and np.isclose(prior.sum(), 1)):
        raise InputError(f"priors must be {data.k} numbers of at least 0 that sum to 1")
    is_drawn = prior > 0
    max_rows = int(np.min(counts[is_drawn] / prior[is_drawn]) + 1e-9)
    n = max_rows if n is None else n
    if n > max_rows or n < 1:
        raise InputError(
            f"{n} rows with these class priors cannot be drawn; "
            + (
                f"the rows allow 1 to {max_rows}"
                if max_rows
                else "a class with a positive prior has too few"
            )
        )
    rng = np.random.default_rng(seed)
    labelled = data.take_labelled()
    return labelled.take(
        rng.permutation(_draw_per_class(labelled, _round_counts(prior * n, n), rng))
    )


def _round_counts(counts: NDArray[np.float64], n: int) -> Labels:
    """Return `counts [k]` of sum n, rounded by largest remainders to integers of the same sum."""
    rounded = np.floor(counts + 1e-9).astype(np.int64)
    rounded[np.argsort(rounded - counts, kind="stable")[: n - int(rounded.sum())]] += 1
    return rounded


def _draw_per_class(data: Data, sizes: Labels, rng: np.random.Generator) -> Labels:
    """Return positions of `sizes [k]` rows per class and all unlabelled ones, in their order."""
    order = rng.permutation(len(data))
    class_rows = [order[data.y[order] == c][: sizes[c]] for c in range(data.k)]
    return np.sort(np.concatenate([*class_rows, np.flatnonzero(data.y < 0)])).astype(np.int64)
