"""Penalised softmax regressions on parts of the same rows, all walked in one matrix product."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.data import Labels
from ilk.maths.lbfgs import descend

Thetas = NDArray[np.float64]  # [fits, k, r + 1], the intercept last
Mask = NDArray[np.bool_]

CHUNK = 8192  # rows at a time
NEVER = -1e30  # the logit of a class that a fit has no row of


@dataclass(frozen=True, eq=False)
class Regressions:
    """Several fits on parts of the same rows.

    Attributes:
        scores: Rows in principal axes with a last column of ones, `[n, r + 1]` float32.
        y: Class of each row, `[n]`; each of 0 … k-1 is taken.
        train: Which rows each fit learns from, `[fits, n]`.
        absent: Which classes each fit has no row of, `[fits, k]`.
        squares: Mean square of each column of the scores, `[r + 1]`.
    """

    scores: NDArray[np.float32]
    y: Labels
    train: Mask
    absent: Mask
    squares: NDArray[np.float64]

    @classmethod
    def of(cls, scores: NDArray[np.float32], y: Labels, train: Mask) -> Regressions:
        """The fits that learn from the rows `train [fits, n]` tells."""
        k = int(y.max()) + 1
        absent = np.stack([np.bincount(y[t], minlength=k) == 0 for t in train])
        squares = np.einsum("ij,ij->j", scores, scores, dtype=np.float64) / len(y)
        return cls(scores, y, train, absent, squares)

    def start(self) -> Thetas:
        """No weight, and the log share of each class as intercept."""
        fits, k = self.absent.shape
        counts = np.stack([np.bincount(self.y[t], minlength=k) for t in self.train])
        thetas = np.zeros((fits, k, self.scores.shape[1]))
        thetas[:, :, -1] = np.log(np.maximum(counts, 1) / counts.sum(1, keepdims=True))
        return thetas

    def solve(self, thetas: Thetas, penalty: float, tolerance: float) -> tuple[Thetas, float]:
        """Lowest points from the starts `thetas`, and the mean log loss of the rows held out.

        A fit minimises its summed log loss and `penalty / 2` times its squared weights. Rows of a
        class that a fit never saw are left out of its held-out loss.
        """
        curvature = self._curvature(thetas, penalty)
        walks = [descend(t, c, tolerance) for t, c in zip(thetas, curvature, strict=True)]
        points, held = [next(walk) for walk in walks], np.zeros(len(walks))
        going = list(range(len(walks)))
        while going:
            asked = self._evaluate(np.stack([points[i] for i in going]), going, penalty)
            for i, value, gradient, lost in zip(list(going), *asked, strict=True):
                held[i] = lost
                try:
                    points[i] = walks[i].send((float(value), gradient))
                except StopIteration as done:
                    points[i] = done.value
                    going.remove(i)
        counted = np.sum(~self.train & ~self.absent[:, self.y])
        return np.stack(points), float(held.sum() / max(1, counted))

    def _curvature(self, thetas: Thetas, penalty: float) -> Thetas:
        """Diagonal of the Hessian, were the scores independent of who is who: positive."""
        spread = np.zeros(thetas.shape[:2])
        for at in range(0, len(self.y), CHUNK):
            p, _ = self._probabilities(thetas, range(len(thetas)), at)
            p *= self.train[:, at : at + CHUNK].T[:, :, None]
            spread += (p - p * p).sum(0)
        curvature = spread[:, :, None] * self.squares
        curvature[:, :, :-1] += penalty
        return np.asarray(np.maximum(curvature, 1e-6 * curvature.max() + 1e-9))

    def _evaluate(
        self, thetas: Thetas, which: list[int], penalty: float
    ) -> tuple[NDArray[np.float64], Thetas, NDArray[np.float64]]:
        """Value `[f]`, gradient `[f, k, r + 1]` and summed held-out loss `[f]` of fits `which`."""
        f, k, r = thetas.shape
        value = 0.5 * penalty * np.einsum("fkr,fkr->f", thetas[:, :, :-1], thetas[:, :, :-1])
        gradient, held = np.zeros((r, f * k)), np.zeros(f)
        for at in range(0, len(self.y), CHUNK):
            p, loss = self._probabilities(thetas, which, at)
            z, y = self.scores[at : at + CHUNK], self.y[at : at + CHUNK]
            train = self.train[which, at : at + CHUNK].T
            out = ~train & ~self.absent[which][:, y].T
            value += np.where(train, loss, 0).sum(0, dtype=np.float64)
            held += np.where(out, loss, 0).sum(0, dtype=np.float64)
            p *= train[:, :, None]
            p[np.arange(len(y)), :, y] -= train
            gradient += z.T @ p.reshape(len(y), f * k)
        bent = np.ascontiguousarray(gradient.T).reshape(f, k, r)
        bent[:, :, :-1] += penalty * thetas[:, :, :-1]
        return value, bent, held

    def _probabilities(
        self, thetas: Thetas, which: list[int] | range, at: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Probabilities `[rows, f, k]` and log losses `[rows, f]` of a chunk, in float32."""
        f, k, r = thetas.shape
        z, y = self.scores[at : at + CHUNK], self.y[at : at + CHUNK]
        p = (z @ thetas.reshape(f * k, r).astype(np.float32).T).reshape(len(y), f, k)
        p += np.where(self.absent[which], np.float32(NEVER), np.float32(0))
        p -= p.max(2, keepdims=True)
        true = p[np.arange(len(y)), :, y]
        np.exp(p, out=p)
        total = p.sum(2, keepdims=True)
        p /= total
        return p, np.log(total[:, :, 0]) - true
