"""Wrong labels: some at random, some as people confuse them, some as people really wrote them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ilk.data import Data, Labels
from ilk.errors import InputError, UnknownName


def symmetric_noise(data: Data, rate: float, seed: int = 0) -> Data:
    """A share `rate` of the labels of each class replaced by another class, all equally likely.

    The new label is never the true one, so exactly that share is wrong (rounded, a class).

    Raises:
        InputError: `rate` is outside [0, 1), or there is only one class.
    """
    _checked(rate, data)
    rng = np.random.default_rng(seed)
    y = data.y.copy()
    for rows in _hit(data, rate, rng):
        y[rows] = (y[rows] + rng.integers(1, data.k, len(rows))) % data.k
    return replace(data, y=y)


def proportional_noise(data: Data, rate: float, seed: int = 0) -> Data:
    """A share `rate` of the labels of each class replaced by another, likelier the larger it is.

    The noise of long-tailed sets, where rare classes gain few wrong rows: another class is drawn by
    its share of the labelled rows (the assumption of Zhang et al. 2023, arXiv 2211.10955). The new
    label is never the true one.

    Raises:
        InputError: `rate` is outside [0, 1), or only one class has rows.
    """
    _checked(rate, data)
    counts = data.counts()
    if np.sum(counts > 0) < 2:
        raise InputError("labels can only be wrong where there are two classes with rows or more")
    rng = np.random.default_rng(seed)
    y = data.y.copy()
    for c, rows in enumerate(_hit(data, rate, rng)):
        others = np.where(np.arange(data.k) == c, 0, counts)
        y[rows] = rng.choice(data.k, len(rows), p=others / others.sum())
    return replace(data, y=y)


def asymmetric_noise(data: Data, rate: float, flips: Mapping[str, str], seed: int = 0) -> Data:
    """A share `rate` of each class that `flips` names gets the label that it is taken for.

    For CIFAR-10 the field flips truck to automobile, bird to airplane, deer to horse, and cat and
    dog to each other (Patrini et al. 2017, arXiv 1609.03683).

    Raises:
        InputError: `rate` is outside [0, 1).
        UnknownName: `flips` names a class that there is not.
    """
    _checked(rate, data)
    for name in (*flips, *flips.values()):
        if name not in data.classes:
            raise UnknownName("class", name, data.classes)
    to = np.array([data.classes.index(flips.get(name, name)) for name in data.classes])
    y = data.y.copy()
    for rows in _hit(data, rate, np.random.default_rng(seed)):
        y[rows] = to[y[rows]]
    return replace(data, y=y)


def relabelled(data: Data, y: Labels) -> Data:
    """The same rows under other labels, `[n]`, such as those that people gave."""
    return replace(data, y=y)


def _hit(data: Data, rate: float, rng: np.random.Generator) -> list[Labels]:
    """The rows of each class that are spoilt."""
    rows = [rng.permutation(np.flatnonzero(data.y == c)) for c in range(data.k)]
    return [r[: round(rate * len(r))] for r in rows]


def _checked(rate: float, data: Data) -> None:
    if not 0 <= rate < 1:
        raise InputError(f"a noise rate of {rate} is none; give a share in [0, 1)")
    if data.k < 2:
        raise InputError("labels can only be wrong where there are two classes or more")
