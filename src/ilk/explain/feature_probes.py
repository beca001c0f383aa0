"""Which features a black box uses: probes of a function of rows, and the average of their ranks.

    integrated gradients  mean_i |(x_ij - b_j) mean_a df(b + a (x_i - b)) / dx_j|,  f the score of
                          the class that row i gets, b the mean row, a the midpoints of (0, 1)
    permutation           mean_i change of the answer when feature j takes other rows' values
    removal               mean_i change of the answer when feature j takes its mean

(Mukund Sundararajan, Ankur Taly, Qiqi Yan, 2017, Axiomatic Attribution for Deep Networks, arXiv
1703.01365, equation 1; Aaron Fisher, Cynthia Rudin, Francesca Dominici, 2019, All Models are Wrong,
but Many are Useful, arXiv 1801.01489, for permutation.) The change of an answer is the total
variation distance of probabilities, or whether the label differs where there are only labels.
Derivatives are central differences, so that any function will do. Features whose correlation
exceeds `MAX_CORRELATION` are permuted and removed together: one of two copies alone would seem to
be of no use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Features
from ilk.core.errors import InputError

BlackBox = Callable[[Features], NDArray[Any]]
"""Rows `[n, d]` -> labels `[n]`, or probabilities `[n, k]`."""
Scores = NDArray[np.float64]

MAX_CORRELATION = 0.95
STEP = 0.1  # of a central difference, in standard deviations
MIDPOINTS = (0.25, 0.75)
N_REPEATS = 3  # permutations
N_ROWS = 200  # rows that are changed, at most; a third of them for gradients
BLOCK_VALUES = 2**24  # values of changed rows in memory at a time


def answer(predict: BlackBox, x: Features) -> NDArray[Any]:
    """Return the answers of a black box, checked: `[n]` labels or `[n, k]` finite probabilities.

    Raises:
        InputError: The answers have another shape, or are not finite.
    """
    got = np.asarray(predict(x))
    if got.ndim not in (1, 2) or len(got) != len(x):
        raise InputError(
            f"the function returned an array of shape {got.shape} for {len(x)} rows; "
            "it must return one label or one row of probabilities per row"
        )
    if got.ndim == 2 and not np.isfinite(got).all():
        raise InputError(
            "the function returned probabilities that are not finite; correct it first"
        )
    return got


def answer_labels(predict: BlackBox, x: Features) -> NDArray[Any]:
    """Return the labels `[n]` of a black box; positions where it gives probabilities."""
    got = answer(predict, x)
    return got if got.ndim == 1 else got.argmax(1)


def find_correlated_groups(x: Features, limit: float = MAX_CORRELATION) -> NDArray[np.int64]:
    """Return the group of each feature, `[d]`: chains of absolute correlations above `limit`."""
    from scipy.sparse.csgraph import connected_components

    z = np.asarray(x, np.float64) - np.mean(x, axis=0, dtype=np.float64)
    norms = np.linalg.norm(z, axis=0)
    z /= np.where(norms > 0, norms, 1.0)
    number = connected_components(np.abs(z.T @ z) > limit, directed=False)[1]
    return np.asarray(number, np.int64)


def probe_permutation(
    predict: BlackBox, x: Features, groups: NDArray[np.int64], seed: int = 0
) -> Scores:
    """Return the mean change of the answer when the features of a group are permuted, `[d]`."""
    rng = np.random.default_rng(seed)
    total = np.zeros(x.shape[1])
    for _ in range(N_REPEATS):
        total += _measure_changes(predict, x, x[rng.permutation(len(x))], groups)
    return total / N_REPEATS


def probe_removal(predict: BlackBox, x: Features, groups: NDArray[np.int64]) -> Scores:
    """Return the mean change of the answer when the features of a group get their mean, `[d]`."""
    mean = np.broadcast_to(x.mean(0), x.shape)
    return _measure_changes(predict, x, mean, groups)


def probe_gradient(predict: BlackBox, x: Features) -> Scores:
    """Return the mean absolute integrated gradient of the score of the answer, `[d]`.

    Raises:
        InputError: The function gives labels, which have no gradient.
    """
    probabilities = answer(predict, x)
    if probabilities.ndim == 1:
        raise InputError("labels have no gradient; let the function return probabilities")
    n, d = x.shape
    rows, label, baseline = np.arange(n), probabilities.argmax(1), x.mean(0)
    step = STEP * np.where((std := x.std(0)) > 0, std, 1.0)
    slope = np.zeros((n, d))
    for alpha in MIDPOINTS:
        point = (baseline + alpha * (x - baseline)).astype(np.float32)
        for columns in _split(d, n * d):
            ends = []
            for sign in (1, -1):
                block = np.repeat(point[None], len(columns), axis=0)
                block[np.arange(len(columns)), :, columns] += sign * step[columns, None]
                got = answer(predict, block.reshape(-1, d)).reshape(len(columns), n, -1)
                ends.append(got[:, rows, label])
            slope[:, columns] += ((ends[0] - ends[1]) / (2 * step[columns, None])).T
    return np.asarray(np.abs((x - baseline) * slope / len(MIDPOINTS)).mean(0))


def probe_features(predict: BlackBox, x: Features, seed: int = 0) -> dict[str, Scores]:
    """Return the importance `[d]` of every feature by every probe that the function allows.

    Args:
        predict: The black box.
        x: Rows to probe it on, `[n, d]`; of more than `N_ROWS`, a random subset is changed.
        seed: Seed of the subset and of permutations.
    """
    groups = find_correlated_groups(x)
    rng = np.random.default_rng(seed)
    part = x if len(x) <= N_ROWS else x[np.sort(rng.choice(len(x), N_ROWS, replace=False))]
    probes = {
        "permutation": probe_permutation(predict, part, groups, seed),
        "removal": probe_removal(predict, part, groups),
    }
    if answer(predict, part[:1]).ndim == 2:
        probes["gradient"] = probe_gradient(predict, part[: max(1, N_ROWS // 3)])
    return probes


def average_ranks(probes: dict[str, Scores]) -> Scores:
    """Return the mean rank of each feature over probes, `[d]`: higher is more important."""
    from scipy.stats import rankdata

    return np.asarray(np.mean([rankdata(values) for values in probes.values()], axis=0))


def _measure_changes(
    predict: BlackBox, x: Features, other: NDArray[Any], groups: NDArray[np.int64]
) -> Scores:
    """Return the mean change of the answer when a feature's group is taken from `other`, `[d]`."""
    n, d = x.shape
    before = answer(predict, x)
    change = np.zeros(int(groups.max(initial=-1)) + 1)
    for numbers in _split(len(change), n * d):
        block = np.repeat(x[None], len(numbers), axis=0)
        for i, number in enumerate(numbers):
            columns = np.flatnonzero(groups == number)
            block[i][:, columns] = other[:, columns]
        after = answer(predict, block.reshape(-1, d)).reshape(len(numbers), *before.shape)
        if before.ndim == 1:
            change[numbers] = (after != before).mean(1)
        else:
            change[numbers] = np.abs(after - before).sum(2).mean(1) / 2
    return np.asarray(change[groups])


def _split(n: int, values: int) -> Iterator[NDArray[np.int64]]:
    """Yield the numbers below n in parts whose rows of `values` each fit in a block."""
    size = max(1, BLOCK_VALUES // max(1, values))
    for start in range(0, n, size):
        yield np.arange(start, min(start + size, n))
