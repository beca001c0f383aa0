"""Moderate coreset: rows whose distance from the class centre is the median one.

Xiaobo Xia, Jiale Liu, Jun Yu, Xu Shen, Bo Han, Tongliang Liu, 2023, Moderate Coreset: A Universal
Method of Data Selection for Real-World Data-Efficient Deep Learning, ICLR.

    score(x) = - | d(x) - median_c d |,   d(x) = | x - mu_c |

Departure: the absolute difference is divided by the median, so that classes can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ilk.core.data import Data
from ilk.subset_selection.selectors.selector import Scores, SelectorTags, standardize


@dataclass(frozen=True)
class Moderate(SelectorTags):
    """Neither the easiest rows of a class nor its outliers."""

    def score(self, source: Data, _target: Data | None, _seed: int) -> Scores:
        """Return scores `[n]`, at most 0."""
        (x,) = standardize(source.x)
        scores = np.zeros(len(source))
        for c in np.unique(source.y):
            rows = np.flatnonzero(source.y == c)
            distance = np.linalg.norm(x[rows] - x[rows].mean(0), axis=1)
            median = float(np.median(distance))
            scores[rows] = -np.abs(distance - median) / (median or 1.0)
        return scores
