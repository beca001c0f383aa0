"""What transductive methods share: rows as directions about the labelled mean, and Gaussian EM.

Rows with and without a label lie in one `Data`. Directions are taken about the mean of the labelled
rows and class means start from them, so that without unlabelled rows every method here answers as
the nearest class mean of SimpleShot does (Wang et al. 2019, arXiv 1911.04623).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ilk.data import Data, Features, Labels, Logits
from ilk.maths.axes import span
from ilk.maths.gaussian import Matrix, class_means
from ilk.maths.sharpness import sharpness
from ilk.metrics import softmax
from ilk.models import affine, learnable, unit_rows

RARE = 1e-6  # the least share of a class, so that its logarithm stays a number
UNTOLD, MOST = 10.0, 100.0  # sharpness where nothing tells it, and the most that few rows may claim


@dataclass(frozen=True, eq=False)
class Directions:
    """`u @ weight.T + bias` with `u` the direction of `x - centre`.

    Attributes:
        centre: `[d]` float32.
        weight: `[k, d]` float32.
        bias: `[k]` float32, `-inf` for a class never seen.
    """

    centre: Features
    weight: Features
    bias: Features

    def logits(self, x: Features) -> Logits:
        """Scores `[n, k]`, float64."""
        return affine(np.asarray(x, np.float64) - self.centre, self.weight, self.bias, unit=True)


@dataclass(frozen=True, eq=False)
class Sphere:
    """Rows as directions about the mean of the labelled ones.

    Attributes:
        centre: That mean, `[d]` float32.
        known: Directions of the labelled rows, `[n, d]` float64.
        y: Their classes, `[n]`.
        free: Directions of the rows without a label, `[m, d]` float64.
        counts: Labelled rows of each class, `[k]`.
        means: Mean direction of each class, `[k, d]` float64; zeros where it has no row.
    """

    centre: Features
    known: Matrix
    y: Labels
    free: Matrix
    counts: Labels
    means: Matrix

    @classmethod
    def of(cls, data: Data, who: object) -> Sphere:
        """The directions of `data` for the method `who`.

        Raises:
            NoLabels, InputError: As `ilk.models.learnable` says.
        """
        rows = learnable(data, who)
        centre = rows.x.mean(0, dtype=np.float64).astype(np.float32)
        known = unit_rows(rows.x.astype(np.float64) - centre)
        free = unit_rows(np.asarray(data.unlabelled().x, np.float64) - centre)
        counts = rows.counts()
        return cls(centre, known, rows.y, free, counts, class_means(known, rows.y, counts))

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Which classes have a labelled row, `[k]`."""
        return self.counts > 0

    @property
    def sums(self) -> Matrix:
        """Sum of the labelled rows of each class, `[k, d]`."""
        return np.asarray(self.counts[:, None] * self.means)

    def without_itself(self) -> Matrix:
        """Mean of each labelled row's class made without that row, `[n, d]`.

        For the only row of a class it is the row itself.
        """
        n = self.counts[self.y, None]
        others = (n * self.means[self.y] - self.known) / np.maximum(n - 1, 1)
        return np.where(n > 1, others, self.known)

    def left_out(self, *, unit: bool = False) -> Matrix:
        """Scores `u @ mean - |mean|^2 / 2` of labelled rows, `[n, k]`, own class made without them.

        With `unit`, means have length 1: cosines less a half.
        """
        means, own = self.means, self.without_itself()
        if unit:
            means, own = unit_rows(means), unit_rows(own)
        scores = self.known @ means.T - 0.5 * np.sum(means**2, axis=1)
        near = np.sum(self.known * own, axis=1) - 0.5 * np.sum(own**2, axis=1)
        scores[np.arange(len(self.y)), self.y] = near
        return np.asarray(scores)

    def sharpness(self, *, unit: bool = False) -> float:
        """The factor t under which labelled rows, scored without themselves, are likeliest.

        It is one over the variance of a Gaussian. Where no class has two rows it is `UNTOLD`; few
        rows may lie apart by luck, so it is at most `MOST`.
        """
        rows = np.flatnonzero(self.counts[self.y] > 1)
        if not len(rows) or self.seen.sum() < 2:
            return UNTOLD
        which = np.searchsorted(np.flatnonzero(self.seen), self.y[rows])
        return sharpness(self.left_out(unit=unit)[rows][:, self.seen], which, 1.0, MOST)

    def reduced(self) -> tuple[Sphere, Matrix | None]:
        """The same in coordinates of the rows' span, and the basis `[d, r]` of that.

        What hangs on inner products alone is the same there, and cheaper with fewer rows than
        features; with more, all stays as it is and the basis is None.
        """
        rows = np.concatenate([self.known, self.free])
        if len(rows) >= rows.shape[1]:
            return self, None
        basis = span(rows)
        parts = {name: getattr(self, name) @ basis for name in ("known", "free", "means")}
        return replace(self, **parts), basis

    def joined(self, u: Matrix) -> Matrix:
        """Class means `[k, d]` of labelled rows and of the others by memberships `u [m, k]`."""
        weight = np.where(self.seen, self.counts + u.sum(0), 1.0)
        return np.asarray((self.sums + u.T @ self.free) / weight[:, None])

    def scores(self, t: float, means: Matrix, v: Matrix | float = 0.0) -> Matrix:
        """`t (x @ mean - |mean|^2 / 2) + v` of the rows without a label, `[m, k]`."""
        return np.asarray(self.free @ (t * means.T) + self.bias(t, means, v))

    def bias(self, t: float, means: Matrix, v: Matrix | float = 0.0) -> Matrix:
        """`v - t |mean|^2 / 2`, `-inf` for a class never seen, `[k]`."""
        return np.where(self.seen, v - 0.5 * t * np.sum(means**2, axis=1), -np.inf)

    def rule(
        self, t: float, means: Matrix, v: Matrix | float = 0.0
    ) -> tuple[Features, Features, Features]:
        """Fields of the `Directions` that score as `scores` does."""
        bias = self.bias(t, means, v).astype(np.float32)
        return self.centre, (t * means).astype(np.float32), bias


def gaussian_em(
    sphere: Sphere, t: float, balance: Sequence[float], temper: Sequence[float]
) -> tuple[Matrix, Matrix]:
    """Class means `[k, d]` and log shares `[k]` after one round an entry of `balance`.

        E    u_nk = softmax_k(temper t (x_n . w_k - |w_k|^2 / 2) + balance v_k)
        M    w_k = (sum of labelled rows + sum_n u_nk x_n) / (their count + sum_n u_nk)
             v_k = log mean_n u_nk

    over rows x_n without a label, from the labelled rows' means and v = 0; both stay so without
    such rows.
    """
    v = np.zeros(len(sphere.counts))
    if not len(sphere.free) or not len(balance):
        return sphere.means, v
    small, _ = sphere.reduced()
    means = small.means
    for b, s in zip(balance, temper, strict=True):
        u = softmax(small.scores(s * t, means, b * v), axis=1)
        means, v = small.joined(u), log_shares(u)
    return sphere.joined(u), v


def log_shares(u: Matrix) -> Matrix:
    """Log of the mean membership of each class, `[k]`, at least log `RARE`."""
    return np.asarray(np.log(np.maximum(u.mean(0), RARE)))
