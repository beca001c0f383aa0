"""Which of many candidates may be the best: multiple comparisons on the same rows.

The winner of many equal candidates is ahead by luck, so that a test of each other one against it,
at the 5 % level each, calls some of them worse on most leaderboards. Here the candidates that
remain contain the best one with probability 95 % (Jason C. Hsu, 1981, Simultaneous Confidence
Intervals for all Distances from the "Best", doi:10.1214/aos/1176345582), and with all of them
equal, any is called worse in 5 % of cases. As in the model confidence set (Peter R. Hansen, Asger
Lunde, James M. Nason, 2011, doi:10.3982/ECTA5771, statistic T_R), the greatest difference of any
two,

    max_jk |t_jk|,  t_jk = sum_g d_g / sqrt(sum_g d_g^2),  d_g = sum over block g of v_j - v_k,

is compared with its distribution where all are equal; candidates that are further than that behind
another one are removed, and the rest is tested again until none is.

The distribution is that of random signs of the blocks (the wild bootstrap with the null hypothesis
imposed, which holds with few blocks too: A. Colin Cameron, Jonah B. Gelbach, Douglas L. Miller,
2008, doi:10.1162/rest.90.3.414). For two candidates and correct or wrong rows it is McNemar's exact
test; ties count half, as in its mid-p form. From `MAX_SIGNED` blocks on, normal variables of the
same covariance take the place of signs. A block is a row, or a group of rows that vary together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.maths.folds import number_groups

LEVEL = 0.05
N_DRAWS = 2000
MAX_SIGNED = 2000  # blocks; with more, sums of signs are normal for every purpose
MIN_VARIANCE = 1e-12  # of a difference, relative to the greatest: below it, two are the same

Matrix = NDArray[np.float64]


def select_possible_best(
    values: Matrix, groups: Labels | None = None, seed: int = 0, level: float = LEVEL
) -> NDArray[np.bool_]:
    """Return which columns may have the greatest mean, `[c]`, wrongly none but with `level`.

    Args:
        values: Value of each row for each candidate, `[n, c]`; higher is better. A candidate with a
            value that is not finite cannot be the best.
        groups: Group of each row, `[n]`; -1 is a group of its own, and None makes every row one.
        seed: Seed of the signs.
        level: Probability that the best is not among those returned, in (0, 1).
    """
    is_known = np.asarray(np.isfinite(values).all(0))
    if not is_known.all():
        return _select_among(
            is_known, select_possible_best(values[:, is_known], groups, seed, level)
        )
    if values.shape[1] < 2:
        return np.ones(values.shape[1], bool)
    centred = values - values.mean(1, keepdims=True)  # leaves every difference as it is
    if groups is not None:
        number = number_groups(groups)
        sums = np.zeros((int(number.max(initial=-1)) + 1, values.shape[1]))
        np.add.at(sums, number, centred)
        centred = sums
    gram = centred.T @ centred
    own = np.diag(gram)
    scale = _take_root(own[:, None] + own - 2 * gram)
    draws = _draw_sums(centred, gram, np.random.default_rng(seed))
    return remove_worse(centred.sum(0), draws, scale, level)


def select_possible_best_of_draws(
    values: Matrix, draws: Matrix, level: float = LEVEL
) -> NDArray[np.bool_]:
    """Return the same as `select_possible_best` for scores that are no means of rows, `[c]`.

    Args:
        values: Score of each candidate, `[c]`; higher is better.
        draws: Its values on bootstrap draws of the rows, the same draws for all, `[c, draws]`.
        level: As in `select_possible_best`.
    """
    centred = (draws - draws.mean(1, keepdims=True)).T
    covariance = centred.T @ centred / max(1, len(centred) - 1)
    own = np.diag(covariance)
    scale = _take_root(own[:, None] + own - 2 * covariance)
    return remove_worse(values, centred, scale, level)


def _select_among(is_known: NDArray[np.bool_], selected: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return `selected`, of the columns that are known, for all columns."""
    result = np.zeros(len(is_known), bool)
    result[is_known] = selected
    return result


def remove_worse(
    values: Matrix, draws: Matrix, scale: Matrix, level: float = LEVEL
) -> NDArray[np.bool_]:
    """Remove candidates that are significantly worse than another, until none is; return the rest.

    Args:
        values: Value of each candidate, `[c]`; higher is better.
        draws: Values where all candidates are equal, `[draws, c]`.
        scale: Standard deviation of each difference, `[c, c]`; infinite for two that are the same.
        level: Probability of removing the best, in (0, 1).
    """
    statistic = (values - values[:, None]) / scale  # [i, j]: how far i is behind j
    is_left = np.ones(len(values), bool)
    while is_left.sum() > 1:
        kept = np.flatnonzero(is_left)
        greatest = np.sort(_find_greatest(draws[:, kept], scale[np.ix_(kept, kept)]))
        behind = statistic[np.ix_(kept, kept)].max(1)
        above = len(greatest) - np.searchsorted(greatest, behind + 1e-9)
        at_least = len(greatest) - np.searchsorted(greatest, behind - 1e-9)
        is_worse = (above + at_least) / (2 * len(greatest)) < level
        if not is_worse.any():
            break
        is_left[kept[is_worse]] = False
    return is_left


def _take_root(variance: Matrix) -> Matrix:
    """Return standard deviations `[c, c]`, infinite where a variance is 0 but for rounding."""
    least = MIN_VARIANCE * float(variance.max(initial=0.0))
    root = np.sqrt(np.maximum(variance, 0.0))
    return np.asarray(np.where(variance > least, root, np.inf))


def _draw_sums(blocks: Matrix, gram: Matrix, rng: np.random.Generator) -> Matrix:
    """Return sums of blocks `[b, c]` with random signs, `[draws, c]`; `gram` is their product."""
    if len(blocks) > MAX_SIGNED:
        variances, axes = np.linalg.eigh(gram)
        root = axes * np.sqrt(np.maximum(variances, 0.0))
        return np.asarray(rng.standard_normal((N_DRAWS, len(gram))) @ root.T)
    bits = np.frombuffer(rng.bytes(N_DRAWS * -(-len(blocks) // 8)), np.uint8).reshape(N_DRAWS, -1)
    is_plus = np.unpackbits(bits, axis=1, count=len(blocks)).astype(np.float64)
    return np.asarray(2 * is_plus @ blocks - blocks.sum(0))


def _find_greatest(draws: Matrix, scale: Matrix) -> NDArray[np.float64]:
    """Return the greatest standardized difference of any two columns of `[draws, c]`, `[draws]`."""
    greatest = np.zeros(len(draws))
    for j in range(draws.shape[1] - 1):
        ratio = np.abs(draws[:, j + 1 :] - draws[:, j : j + 1]) / scale[j, j + 1 :]
        np.maximum(greatest, ratio.max(1), out=greatest)
    return greatest
