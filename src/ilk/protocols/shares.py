"""How many rows each class has: a long tail to learn from, other shares to answer for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.data import Data, Labels
from ilk.errors import InputError


def long_tail(data: Data, ratio: float, most: int | None = None, seed: int = 0) -> Data:
    """Labelled rows of class c cut to `most * ratio ** (-rank / (k - 1))`: an exponential tail.

    Which class is rare is drawn; `most` is the size of the largest, at most that of the smallest
    class at hand (the default). Every class keeps at least one row (Cui et al. 2019,
    arXiv 1901.05555). Rows without a label stay, and all keep their order.

    Raises:
        InputError: `ratio` is below 1 or not finite, `most` is below 1, or a class has no row.
    """
    counts = data.counts()
    if not 1 <= ratio < np.inf:
        raise InputError(f"an imbalance of {ratio} is none; give the largest by the smallest, >= 1")
    if most is not None and most < 1:
        raise InputError(f"a largest class of {most} rows is none; give at least 1")
    if not data.k or not counts.all():
        bare = [name for name, n in zip(data.classes, counts, strict=True) if not n]
        raise InputError(
            f"no labelled row of {', '.join(bare) or 'any class'}, so there is no tail to cut; "
            "leave out classes without rows"
        )
    rng = np.random.default_rng(seed)
    top = int(counts.min() if most is None else min(counts.min(), most))
    rank = rng.permutation(data.k) / max(1, data.k - 1)
    return data.rows(_cut(data, np.maximum(1, np.round(top * ratio**-rank)).astype(np.int64), rng))


def shifted(
    data: Data, shares: Sequence[float] | NDArray[Any], n: int | None = None, seed: int = 0
) -> Data:
    """`n` labelled rows in random order, class c with a share `shares[c]` of them, no row twice.

    Shares of `n` that are not whole are rounded so that they sum to `n` (largest remainders). `n`
    is the most that the rows allow where it is not told. Rows without a label are left out.

    Raises:
        InputError: `shares [k]` are no shares, or a class has fewer rows than its share of `n`.
    """
    share, counts = np.asarray(shares, np.float64), data.counts()
    if share.shape != (data.k,) or not ((share >= 0).all() and np.isclose(share.sum(), 1)):
        raise InputError(f"shares must be {data.k} numbers of at least 0 that sum to 1")
    taken = share > 0
    most = int(np.min(counts[taken] / share[taken]) + 1e-9)
    n = most if n is None else n
    if n > most or n < 1:
        raise InputError(
            f"{n} rows in these shares cannot be drawn; "
            + (f"the rows allow 1 to {most}" if most else "a class that is asked for has too few")
        )
    rng = np.random.default_rng(seed)
    known = data.labelled()
    return known.rows(rng.permutation(_cut(known, _whole(share * n, n), rng)))


def _whole(wanted: NDArray[np.float64], n: int) -> Labels:
    """`wanted [k]`, which sum to n, rounded so that they still do: up where most is left over."""
    down = np.floor(wanted + 1e-9).astype(np.int64)
    down[np.argsort(down - wanted, kind="stable")[: n - int(down.sum())]] += 1
    return down


def _cut(data: Data, sizes: Labels, rng: np.random.Generator) -> Labels:
    """Rows: so many of each class, and all without a label, in their order."""
    order = rng.permutation(len(data))
    kept = [order[data.y[order] == c][: sizes[c]] for c in range(data.k)]
    return np.sort(np.concatenate([*kept, np.flatnonzero(data.y < 0)])).astype(np.int64)
