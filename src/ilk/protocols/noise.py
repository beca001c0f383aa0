"""Label noise: symmetric, proportional to class frequency, asymmetric, or given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ilk.core.data import Data, Labels
from ilk.core.errors import InputError, UnknownName


def symmetric_noise(data: Data, rate: float, seed: int = 0) -> Data:
    """Replace a fraction `rate` of the labels of each class by another class, uniformly.

    The new label is never the true one, so that exactly that fraction is wrong (rounded per class).

    Raises:
        InputError: If `rate` is outside [0, 1), or there is only one class.
    """
    _check_rate(rate, data)
    rng = np.random.default_rng(seed)
    y = data.y.copy()
    for rows in _draw_noisy_rows(data, rate, rng):
        y[rows] = (y[rows] + rng.integers(1, data.k, len(rows))) % data.k
    return replace(data, y=y)


def proportional_noise(data: Data, rate: float, seed: int = 0) -> Data:
    """Replace a fraction `rate` of the labels of each class by another, in proportion to its size.

    This is the noise of long-tailed data, where rare classes gain few wrong rows (the assumption of
    Zhang et al. 2023, arXiv 2211.10955). The new label is never the true one.

    Raises:
        InputError: If `rate` is outside [0, 1), or only one class has rows.
    """
    _check_rate(rate, data)
    counts = data.count_labels()
    if np.sum(counts > 0) < 2:
        raise InputError("labels can only be wrong where there are two classes with rows or more")
    rng = np.random.default_rng(seed)
    y = data.y.copy()
    for c, rows in enumerate(_draw_noisy_rows(data, rate, rng)):
        others = np.where(np.arange(data.k) == c, 0, counts)
        y[rows] = rng.choice(data.k, len(rows), p=others / others.sum())
    return replace(data, y=y)


def asymmetric_noise(data: Data, rate: float, flips: Mapping[str, str], seed: int = 0) -> Data:
    """Replace a fraction `rate` of the labels of each class in `flips` by the class it maps to.

    The usual flips for CIFAR-10 are truck to automobile, bird to airplane, deer to horse, and cat
    and dog to each other (Patrini et al. 2017, arXiv 1609.03683).

    Raises:
        InputError: If `rate` is outside [0, 1), or there is only one class.
        UnknownName: If `flips` names a class that does not exist.
    """
    _check_rate(rate, data)
    for name in (*flips, *flips.values()):
        if name not in data.classes:
            raise UnknownName("class", name, data.classes)
    target_class = np.array([data.classes.index(flips.get(name, name)) for name in data.classes])
    y = data.y.copy()
    for rows in _draw_noisy_rows(data, rate, np.random.default_rng(seed)):
        y[rows] = target_class[y[rows]]
    return replace(data, y=y)


def replace_labels(data: Data, y: Labels) -> Data:
    """Return the same rows with other labels, `[n]`, such as those of human annotators."""
    return replace(data, y=y)


def _draw_noisy_rows(data: Data, rate: float, rng: np.random.Generator) -> list[Labels]:
    """Return the rows of each class whose label is replaced."""
    rows = [rng.permutation(np.flatnonzero(data.y == c)) for c in range(data.k)]
    return [r[: round(rate * len(r))] for r in rows]


def _check_rate(rate: float, data: Data) -> None:
    if not 0 <= rate < 1:
        raise InputError(f"rate is {rate}; give a fraction in [0, 1)")
    if data.k < 2:
        raise InputError("labels can only be wrong where there are two classes or more")
