"""Cosine distance to the nearest normal rows.

Liron Bergman, Niv Cohen, Yedid Hoshen, 2020, Deep Nearest Neighbor Anomaly Detection,
arXiv 2002.10445.

    s(x) = mean over the k normal rows x' nearest to x of 1 - cos(x, x')

Departures: the paper takes the Euclidean distance, and k = 2; here rows have length 1, so that how
strongly a network responds does not count, and k = 1.

The threshold of a false-alarm rate is conformal: each normal row is scored without itself and
without the rows of its group, which needs no further fit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.core.contracts import DetectorTags
from ilk.core.data import Data, Features
from ilk.core.linear_models import normalize_rows
from ilk.core.part_bounds import NON_NEGATIVE, Bounds
from ilk.maths import folds
from ilk.maths.alarm_threshold import (
    CalibratedDetector,
    select_normal_rows,
    sort_calibration,
)

CHUNK_SIZE = 1024  # rows scored at a time
MAX_ROWS = 20_000  # normal rows that are kept: 100 MB at 1,280 features

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NeighbourDetector(CalibratedDetector):
    """Normal rows of length 1.

    Attributes:
        rows: The rows, `[m, d]`.
        neighbours: Number of nearest rows that a score is the mean of.
        calibration_scores: Scores of normal rows without their group, ascending, `[m]`.
        calibration_votes: Their votes, `[m]`: one per row, or per group of rows; empty is 1 each.
    """

    kind: ClassVar[str] = "neighbour_detector"
    shapes: ClassVar[dict[str, str]] = {
        "rows": "m d",
        "calibration_scores": "m",
        "calibration_votes": "m?",
    }
    bounds: ClassVar[dict[str, Bounds]] = {
        "neighbours": (1, float("inf")),
        "calibration_scores": NON_NEGATIVE,
        "calibration_votes": NON_NEGATIVE,
    }

    rows: Features
    neighbours: int
    calibration_scores: Vector
    calibration_votes: Vector = field(default_factory=lambda: np.zeros(0))

    def score(self, x: Features) -> Vector:
        """Return the mean cosine distance `[n]`, from 0 to 2, of features `[n, d]`."""
        return _score(_scale_to_unit(x), self.rows, self.neighbours, None, None)


@dataclass(frozen=True)
class NearestNeighbour(DetectorTags):
    """Cosine distance to the nearest rows of class 0; of all rows if none has a label.

    Attributes:
        neighbours: Number of nearest rows that a score is the mean of, >= 1.
        seed: Seed of the choice of rows where there are more than 20,000.
    """

    neighbours: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.neighbours < 1:
            raise ValueError(f"neighbours is {self.neighbours}; at least 1 is needed")

    def fit(self, data: Data) -> NeighbourDetector:
        """Keep the normal rows of `data`, and score each without its group.

        Raises:
            NoLabels: If there are labels but none of class 0.
            InputError: If there are no rows, they are not vectors, or their weights differ.
        """
        rows = select_normal_rows(data, self)
        if len(rows) > MAX_ROWS:
            kept = np.random.default_rng(self.seed).permutation(len(rows))[:MAX_ROWS]
            rows = rows.take(np.sort(kept))
        unit, group = _scale_to_unit(rows.x), folds.number_groups(rows.group)
        scores = _score(unit, unit, self.neighbours, group, group)
        return NeighbourDetector(unit, self.neighbours, *sort_calibration(scores, rows.group))


def _scale_to_unit(x: Features) -> Features:
    return np.asarray(normalize_rows(x), np.float32)


def _score(
    x: Features,
    rows: Features,
    neighbours: int,
    group: NDArray[np.int64] | None,
    row_group: NDArray[np.int64] | None,
) -> Vector:
    """Return the mean distance `[n]` to the nearest `rows` of other groups.

    It is infinite where there is no such row.
    """
    scores = np.zeros(len(x))
    for at in range(0, len(x), CHUNK_SIZE):
        distance = 1 - np.asarray(x[at : at + CHUNK_SIZE], np.float64) @ rows.T
        if group is not None and row_group is not None:
            distance[group[at : at + CHUNK_SIZE, None] == row_group] = np.inf
        k = min(neighbours, len(rows))
        nearest = np.partition(distance, k - 1, axis=1)[:, :k]
        n_found = np.isfinite(nearest).sum(1)
        total = np.where(np.isfinite(nearest), nearest, 0).sum(1)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.where(n_found > 0, total / n_found, np.inf)
        scores[at : at + CHUNK_SIZE] = np.where(mean > 0, mean, 0)
    return scores
