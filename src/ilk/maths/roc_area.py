"""The area under the ROC curve, with an interval, and the overlap of regions.

J. A. Hanley, B. J. McNeil, 1982, doi:10.1148/radiology.143.1.7063747; the interval: Robert G.
Newcombe, 2006, Confidence intervals for an effect size measure based on the Mann-Whitney statistic,
part 2, doi:10.1002/sim.2324 (method 5). Paul Bergmann and others, 2020, Uninformed Students,
arXiv 1911.02357, for the overlap of regions.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.metrics import Interval

MAX_FALSE_POSITIVES = 0.3  # up to which the overlap is averaged, as in the paper

Scores = NDArray[Any]


def compute_roc_area(
    normal: Scores,
    anomalous: Scores,
    normal_weight: Scores | None = None,
    anomalous_weight: Scores | None = None,
) -> float:
    """Return the area under the ROC curve: how often an anomaly has the higher score.

    Equal scores count half.

    Args:
        normal: Scores of normal rows or pixels, `[n]`, n >= 1.
        anomalous: Scores of anomalous ones, `[m]`, m >= 1.
        normal_weight: How many times each normal one counts, `[n]`; None counts each once.
        anomalous_weight: How many times each anomalous one counts, `[m]`; None counts each once.
    """
    if normal_weight is None:
        ordered, total = np.sort(normal), float(len(normal))
        below, up_to = (np.searchsorted(ordered, anomalous, side) for side in ("left", "right"))
    else:
        order = np.argsort(normal, kind="stable")
        ordered, cumulative = normal[order], np.append(0.0, np.cumsum(normal_weight[order]))
        total = float(cumulative[-1])
        below, up_to = (
            cumulative[np.searchsorted(ordered, anomalous, side)] for side in ("left", "right")
        )
    return float(np.average(below + up_to, weights=anomalous_weight)) / (2 * total)


def estimate_roc_area(normal: Scores, anomalous: Scores, level: float = 0.95) -> Interval:
    """Return the area under the ROC curve with its interval, for rows that are independent.

    The bounds are the areas A from which the estimate is as far as `level` allows,
    `|a - A| = z sqrt(V)`, with `V = A (1 - A) (1 + N (1 - A) / (2 - A) + N A / (1 + A)) / (m n)`
    and `N = (m + n) / 2 - 1`, so that the interval has a width where the estimate is 0 or 1.

    Args:
        normal: Scores of normal rows, `[n]`, n >= 1.
        anomalous: Scores of anomalous ones, `[m]`, m >= 1.
        level: Confidence level, in (0, 1).
    """
    area = compute_roc_area(normal, anomalous)
    z = NormalDist().inv_cdf(0.5 + level / 2)
    m, n = len(anomalous), len(normal)

    def exceeds(true: float) -> bool:
        extra = ((m + n) / 2 - 1) * ((1 - true) / (2 - true) + true / (1 + true))
        return abs(area - true) > z * float(np.sqrt(true * (1 - true) * (1 + extra) / (m * n)))

    return Interval(area, _bisect(exceeds, 0.0, area), _bisect(exceeds, 1.0, area), level)


def _bisect(exceeds: Any, outside: float, inside: float) -> float:
    """Return the bound between a value that is too far and one that is not."""
    for _ in range(60):
        middle = (outside + inside) / 2
        outside, inside = (middle, inside) if exceeds(middle) else (outside, middle)
    return inside


def compute_region_overlap(normal: Scores, regions: Sequence[Scores]) -> float:
    """Return the mean overlap of regions up to a rate of 0.3 of false positives, from 0 to 1.

    At each threshold that a rate of normal pixels exceeds, the overlap is the fraction of a region
    above it, averaged over regions, so that small ones count as much as large ones.

    Args:
        normal: Scores of normal pixels, `[n]`, n >= 1.
        regions: Scores of the pixels of each anomalous region, one region at least.
    """
    order = np.sort(normal)
    rates = np.linspace(0, MAX_FALSE_POSITIVES, 101)
    at = np.clip(np.ceil(len(order) * (1 - rates)).astype(np.int64) - 1, 0, len(order) - 1)
    overlap = [float(np.mean([np.mean(region > t) for region in regions])) for t in order[at]]
    return float(np.trapezoid(overlap, rates)) / MAX_FALSE_POSITIVES
