"""Cohen's kappa: how much more often two annotators agree than chance would make them.

Jacob Cohen, 1960, A Coefficient of Agreement for Nominal Scales, doi:10.1177/001316446002000104:

    kappa = (p_o - p_e) / (1 - p_e)

with p_o the fraction of images with the same class and p_e what independent annotators with these
frequencies of classes would reach. The large-sample variance: Joseph L. Fleiss, Jacob Cohen, B. S.
Everitt, 1969, doi:10.1037/h0028106. A normal interval is too narrow where nearly all images agree,
so p_o gets the score interval of the number of images whose variance would be that one, and its
bounds are mapped to kappa.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.core.metrics import Interval, wilson_interval


@dataclass(frozen=True)
class Agreement:
    """How far two annotators agree on the images that both gave a class.

    Attributes:
        annotators: Their names.
        n: Number of these images.
        observed: Fraction of them with the same class.
        kappa: Cohen's kappa with its 95 % interval; nan where both use one and the same class.
    """

    annotators: tuple[str, str]
    n: int
    observed: float
    kappa: Interval


def measure_agreement(
    annotators: tuple[str, str], first: Sequence[str], second: Sequence[str]
) -> Agreement:
    """Return the agreement of the classes that two annotators gave the same images.

    Args:
        annotators: Their names.
        first: Classes by the first, one per image.
        second: Classes by the second, of the same images in the same order; one at least.
    """
    classes = sorted({*first, *second})
    table = np.zeros((len(classes), len(classes)))
    for a, b in zip(first, second, strict=True):
        table[classes.index(a), classes.index(b)] += 1
    observed = float(np.trace(table) / table.sum())
    return Agreement(annotators, len(first), observed, estimate_kappa(table))


def estimate_kappa(table: NDArray[np.float64]) -> Interval:
    """Return Cohen's kappa with its 95 % interval.

    Args:
        table: Number of images by the class of the first and of the second annotator, `[k, k]`, one
            image at least.
    """
    n = table.sum()
    p = table / n
    rows, columns = p.sum(1), p.sum(0)
    observed, expected = float(np.trace(p)), float(rows @ columns)
    if expected >= 1 - 1e-12:  # both use one class only
        return Interval(float("nan"), -1.0, 1.0)

    def to_kappa(agreement: float) -> float:
        return (agreement - expected) / (1 - expected)

    binomial = observed * (1 - observed) / (1 - expected) ** 2  # n times the variance, p_e known
    variance = _compute_variance(p, rows, columns, observed, expected)
    n_effective = n * binomial / variance if variance > 0 and binomial > 0 else n
    bounds = wilson_interval(observed * n_effective, n_effective) if n_effective >= 1 else None
    low, high = (bounds.low, bounds.high) if bounds else (0.0, 1.0)
    return Interval(to_kappa(observed), max(-1.0, to_kappa(low)), to_kappa(high))


def _compute_variance(
    p: NDArray[np.float64],
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
    observed: float,
    expected: float,
) -> float:
    """Return n times the large-sample variance of kappa (Fleiss, Cohen, Everitt, equation 13)."""
    agree, chance = 1 - expected, 1 - observed
    diagonal = np.diag(p) * (agree - (rows + columns) * chance) ** 2
    pairs = (columns[:, None] + rows[None, :]) ** 2
    off = (p * pairs).sum() - np.sum(np.diag(p) * np.diag(pairs))
    total = diagonal.sum() + chance**2 * off - (observed * expected - 2 * expected + observed) ** 2
    return float(total / agree**4)
