"""How many rows each class has: a long tail to learn from, other shares to answer for."""

from __future__ import annotations

import numpy as np

from ilk.data import Data, Labels
from ilk.errors import InputError


def long_tail(data: Data, ratio: float, most: int | None = None, seed: int = 0) -> Data:
    """Labelled rows of class c cut to `most * ratio ** (-rank / (k - 1))`: an exponential tail.

    Which class is rare is drawn; `most` is the size of the largest, at most that of the smallest
    class at hand (the default). Every class keeps at least one row (Cui et al. 2019,
    arXiv 1901.05555). Rows without a label stay.

    Raises:
        InputError: `ratio` is below 1, or a class has no row.
    """
    counts = data.counts()
    if ratio < 1:
        raise InputError(f"an imbalance of {ratio} is none; give the largest by the smallest, >= 1")
    if not counts.all():
        raise InputError("a class has no labelled row, so there is no tail to cut")
    rng = np.random.default_rng(seed)
    top = int(min(counts.min(), most or counts.min()))
    rank = rng.permutation(data.k) / max(1, data.k - 1)
    return data.rows(_cut(data, np.maximum(1, np.round(top * ratio**-rank)).astype(np.int64), rng))


def shifted(
    data: Data,
    shares: Labels | np.ndarray[tuple[int], np.dtype[np.float64]],
    n: int | None = None,
    seed: int = 0,
) -> Data:
    """Labelled rows drawn so that class c has a share `shares[c]` of `n`, no row twice.

    `n` is the most that the rows allow where it is not told.

    Raises:
        InputError: `shares [k]` are no shares, or a class has fewer rows than its share of `n`.
    """
    share, counts = np.asarray(shares, np.float64), data.counts()
    if share.shape != (data.k,) or (share < 0).any() or not np.isclose(share.sum(), 1):
        raise InputError(f"shares must be {data.k} numbers of at least 0 that sum to 1")
    taken = share > 0
    most = int(np.min(counts[taken] / share[taken]))
    n = most if n is None else n
    if n > most or n < 1:
        raise InputError(f"{n} rows in these shares cannot be drawn; the rows allow 1 to {most}")
    rng = np.random.default_rng(seed)
    return data.rows(rng.permutation(_cut(data, np.floor(share * n + 1e-9).astype(np.int64), rng)))


def _cut(data: Data, sizes: Labels, rng: np.random.Generator) -> Labels:
    """Rows: so many of each class, and all without a label, in their order."""
    order = rng.permutation(len(data))
    kept = [order[data.y[order] == c][: sizes[c]] for c in range(data.k)]
    return np.sort(np.concatenate([*kept, np.flatnonzero(data.y < 0)]))
