"""Means of rows that vary together in groups: intervals, standard errors and tests.

The variance of a mean of n rows is estimated from the sums of their deviations in each of G groups,

    G / (G - 1) sum_g (sum_{i in g} (v_i - mean))^2 / n^2

(Kung-Yee Liang, Scott L. Zeger, 1986, Longitudinal Data Analysis Using Generalized Linear Models),
with the quantiles of Student's t for G - 1 degrees of freedom, because few groups determine it
poorly (A. Colin Cameron, Jonah B. Gelbach, Douglas L. Miller, 2008, doi:10.1162/rest.90.3.414).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import erfc, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.core.metrics import Interval, wilson_interval
from ilk.maths.folds import number_groups

Z = 1.96
Vector = NDArray[np.float64]


def compute_interval(
    is_correct: NDArray[np.float64 | np.bool_], groups: Labels | None = None, spread: float = 0.0
) -> Interval:
    """Return the mean with its 95 % interval: Wilson's for the effective number of rows.

    Args:
        is_correct: How often each row is correct, in [0, 1], `[n]`.
        groups: Group of each row, `[n]`; -1 is a group of its own, and None makes every row one.
        spread: Standard deviation of the accuracy over sets of folds.
    """
    if not len(is_correct):
        return wilson_interval(0, 0)
    p, n = float(np.mean(is_correct)), count_effective_rows(is_correct, groups, spread)
    return replace(wilson_interval(p * n, n), value=p)


def count_effective_rows(
    is_correct: NDArray[np.float64 | np.bool_], groups: Labels | None = None, spread: float = 0.0
) -> float:
    """Return the number of independent rows whose mean varies as much as that of `is_correct`.

    That is n, divided by how much the variance exceeds that of n independent rows, because rows of
    a group are right or wrong together, or because of the spread over folds; at least 1. Where all
    rows are right, or all are wrong, it is the number of groups.

    Args:
        is_correct: How often each row is correct, in [0, 1], `[n]`, n > 0.
        groups: Group of each row, `[n]`; -1 is a group of its own, and None makes every row one.
        spread: Standard deviation of the accuracy over sets of folds.
    """
    n, p = len(is_correct), float(np.mean(is_correct))
    independent = p * (1 - p) / n
    group = None if groups is None else number_groups(groups)
    n_groups = n if group is None else int(group.max()) + 1
    if independent <= 0:
        return n_groups
    variance = independent
    if group is not None and n_groups < n:
        clustered = compute_variance(is_correct, group) * (_find_quantile(n_groups - 1) / Z) ** 2
        variance = max(variance, clustered) if n_groups > 1 else p * (1 - p)
    return max(1.0, n * independent / (variance + spread**2))


def count_effective_pairs(differences: NDArray[Any], groups: Labels) -> float:
    """Return the number of independent pairs whose mean difference varies as much as that of n.

    That is `count_effective_rows` for paired differences, from 1 to n.

    Args:
        differences: `[n]`, n > 0.
        groups: Group of each pair, `[n]`; -1 is a group of its own.
    """
    n, group = len(differences), number_groups(groups)
    n_groups, differences = int(group.max()) + 1, np.asarray(differences, np.float64)
    if n_groups == n:
        return n
    independent = compute_variance(differences, np.arange(n))
    if independent <= 0:
        return n_groups
    clustered = compute_variance(differences, group) * (_find_quantile(n_groups - 1) / Z) ** 2
    return max(1.0, n * independent / max(independent, clustered))


def compute_variance(values: NDArray[np.float64 | np.bool_], groups: Labels) -> float:
    """Return the variance of the mean of `values [n]`, whose groups `[n]` vary together.

    Infinite for a single group.
    """
    group = number_groups(groups)
    sums = np.bincount(group, values - np.mean(values))
    n_groups = len(sums)
    if n_groups < 2:
        return float("inf")
    return float(np.sum(sums**2)) / len(values) ** 2 * n_groups / (n_groups - 1)


def compare_means(first: Vector, second: Vector, groups: Labels | None = None) -> Interval:
    """Return the mean of `first - second`, values of the same rows `[n]`, with its 95 % interval.

    Where all differences are -1, 0 or 1, as those of two classifiers being right, the standard
    error is at least that of one row in n that differs, so that a few rows without a difference
    give no certainty, and the interval lies in [-1, 1]. Without such a bound it is infinite where
    all rows are of one group.

    Args:
        first: Values of each row, such as whether one classifier is right, `[n]`, n > 0.
        second: Those of another.
        groups: Group of each row, `[n]`; -1 is a group of its own, and None makes every row one.
    """
    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    n_groups = len(difference) if groups is None else int(number_groups(groups).max()) + 1
    quantile = Z if n_groups == len(difference) else _find_quantile(n_groups - 1)
    mean, half = float(difference.mean()), quantile * compute_error(difference, groups)
    least, greatest = (-1.0, 1.0) if _is_count(difference) else (-np.inf, np.inf)
    return Interval(mean, max(least, mean - half), min(greatest, mean + half))


def compute_error(values: Vector, groups: Labels | None = None) -> float:
    """Return the standard error of the mean of paired differences `values [n]`.

    The arguments are those of `compare_means`, which says what is the least error.
    """
    n = len(values)
    group = np.arange(n) if groups is None else number_groups(groups)
    least = 1 / (sqrt(2) * n) if _is_count(values) else 0.0
    return max(sqrt(compute_variance(values, group)), least)


def compute_mean_p_value(values: Vector, groups: Labels | None = None) -> float:
    """Return the two-sided p-value of a mean of 0 of `values [n]`, in [0, 1].

    Args:
        values: One value per row, `[n]`.
        groups: Group of each row, `[n]`; -1 is a group of its own, and None makes every row one.
    """
    mean, n = float(np.mean(values)), len(values)
    if groups is None:
        error = float(np.std(values, ddof=1)) / sqrt(n) if n > 1 else 0.0
        return float(mean == 0) if error == 0 else erfc(abs(mean) / error / sqrt(2))
    variance, n_groups = compute_variance(values, groups), int(number_groups(groups).max()) + 1
    if n_groups < 2:
        return 1.0
    if variance == 0:
        return float(mean == 0)
    from scipy.special import stdtr

    return float(2 * stdtr(n_groups - 1, -abs(mean) / sqrt(variance)))


def iterate_draws(
    n: int, n_draws: int, rng: np.random.Generator, groups: Labels | None = None
) -> Iterator[NDArray[np.int64]]:
    """Yield how often each of n rows is drawn, `[n]`, in each bootstrap draw of whole groups.

    Args:
        n: Number of rows.
        n_draws: Number of draws.
        rng: Random numbers.
        groups: Group of each row, `[n]`; -1 is a group of its own, and None makes every row one.
    """
    group = None if groups is None else number_groups(groups)
    n_groups = n if group is None else int(group.max(initial=-1)) + 1
    for _ in range(n_draws):
        counts = np.bincount(rng.integers(n_groups, size=n_groups), minlength=n_groups)
        yield counts if group is None else counts[group]


def _is_count(differences: Vector) -> bool:
    """Whether all differences are -1, 0 or 1."""
    return bool(np.isin(differences, (-1.0, 0.0, 1.0)).all())


def _find_quantile(degrees: int) -> float:
    """Return the 97.5 % quantile of Student's t; infinite for 0 degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 0.975)) if degrees > 0 else float("inf")
