"""Groups rows without a label around class means and new means; labelled rows stay in their class.

Sagar Vaze, Kai Han, Andrea Vedaldi, Andrew Zisserman, 2022, Generalized Category Discovery,
arXiv 2201.02609, section 4.2; seeds: David Arthur, Sergei Vassilvitskii, 2007, k-means++: The
Advantages of Careful Seeding.

    seeds   mean of each class's labelled rows; new ones drawn by their squared distance from these
    rows    labelled: their class; others: the nearest mean
    means   of all their rows; and again, until no row moves

The tightest of several runs is kept. The score of a group is `-t |x - mean|^2 / 2`; the sharpness t
is no part of the paper and changes no answer.

The number of new classes, where it is not told, is the one with the best silhouette over all rows.
The paper takes the one under which labelled rows, held out, are clustered best; that looks at known
classes alone, and cannot say that there is no new one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ilk.data import Data
from ilk.errors import InputError
from ilk.maths.clusters import grouped, numbered, sharp
from ilk.models import Facts, Linear, learnable


@dataclass(frozen=True)
class SemiSupervisedKMeans(Facts):
    """k-means beside known classes.

    Attributes:
        new: Number of new classes; None finds it.
        restarts: Runs from other seeds, >= 1.
        seed: Draws the seeds.
    """

    discovers: ClassVar[bool] = True

    new: int | None = None
    restarts: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.new or 0) < 0 or self.restarts < 1:
            raise ValueError(f"{self} asks for less than nothing; new >= 0, restarts >= 1")

    def fit(self, data: Data) -> Linear:
        known = learnable(data, self)
        seen, y = np.flatnonzero(known.counts()), data.y.copy()
        y[y >= 0] = np.searchsorted(seen, y[y >= 0])
        if (self.new or 0) > np.sum(y < 0):
            raise InputError(f"{self.new} new classes need as many rows without a label; ask less")
        centre = np.asarray(data.x, np.float32).mean(0, dtype=np.float64)
        x = (np.asarray(data.x, np.float32) - centre).astype(np.float32)
        new = numbered(x, y, seed=self.seed) if self.new is None else self.new
        groups = grouped(x, y, new, restarts=self.restarts, seed=self.seed)
        at = np.append(seen, data.k + np.arange(new))
        weight = np.zeros((data.k + new, x.shape[1]))
        bias = np.full(len(weight), -np.inf)
        weight[at] = sharp(x, y, groups) * groups.centres.astype(np.float64)
        bias[at] = -0.5 * np.einsum("kd,kd->k", weight[at], groups.centres.astype(np.float64))
        return Linear.about(centre, weight, bias)
