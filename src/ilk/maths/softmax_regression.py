"""L2-penalized softmax regressions on subsets of the same rows, evaluated in one matrix product."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.maths.lbfgs import HISTORY_SIZE, Pair, minimize_lbfgs

Parameters = NDArray[np.float64]  # [fits, k, r + 1], the intercept last
Mask = NDArray[np.bool_]

CHUNK_SIZE = 8192  # rows at a time
PROJECTED_CHUNK_SIZE = 2048  # rows at a time where the scores are not stored, to save memory
MASKED_LOGIT = -1e30  # the logit of a class without training rows in a fit


@dataclass(eq=False)
class CurvatureHistory:
    """What the solver learnt about the curvature of each fit, for the next penalty.

    The loss part of a gradient difference is as valid under another penalty, and the penalty part
    is known exactly: `penalty` times the step.

    Attributes:
        pairs: Steps and gradient differences of each fit.
        penalty: The penalty that they include.
    """

    pairs: list[list[Pair]] = field(default_factory=list)
    penalty: float = 0.0

    def change_penalty(self, penalty: float, n_fits: int) -> list[list[Pair]]:
        """Return the latest pairs of `n_fits` fits for another penalty, to be appended to."""
        difference, self.penalty = penalty - self.penalty, penalty
        old_pairs = self.pairs or [[] for _ in range(n_fits)]
        self.pairs = [
            [new for p in pairs[-HISTORY_SIZE:] if (new := _add_penalty(p, difference))[2] > 0]
            for pairs in old_pairs
        ]
        return self.pairs


def _add_penalty(pair: Pair, penalty: float) -> Pair:
    """Return a pair of a function with a further penalty, which is not on the intercepts."""
    step, change = pair[0], pair[1].copy()
    change[:, :-1] += penalty * step[:, :-1]
    return step, change, float(np.vdot(step, change))


@dataclass(frozen=True, eq=False)
class Projection:
    """Scores `(x - centre) @ rotation` of features, where storing them would take too much memory.

    The parameters are rotated to the features instead, and the gradient back.

    Attributes:
        centre: `[d]` float32.
        rotation: `[d, r]` float32.
        mean_squares: (Weighted) mean square of each score, `[r]`.
    """

    centre: NDArray[np.float32]
    rotation: NDArray[np.float32]
    mean_squares: NDArray[np.float64]

    def centre_rows(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return `x - centre` with a last column of ones, `[n, d + 1]`."""
        out = np.ones((len(x), x.shape[1] + 1), np.float32)
        np.subtract(x, self.centre, out=out[:, :-1])
        return out

    def rotate_parameters(self, thetas: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return parameters `[m, d + 1]` of centred features for those of scores, `[m, r + 1]`."""
        return np.hstack([thetas[:, :-1] @ self.rotation.T, thetas[:, -1:]])

    def rotate_gradient(self, gradient: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the gradient `[r + 1, m]` with respect to the parameters of scores."""
        return np.vstack([self.rotation.T.astype(np.float64) @ gradient[:-1], gradient[-1:]])


@dataclass(frozen=True, eq=False)
class SoftmaxRegressions:
    """Several fits to subsets of the same rows.

    Attributes:
        scores: Rows in principal axes with a last column of ones, `[n, r + 1]` float32; features
            `[n, d]` where there is a projection.
        y: Class of each row, `[n]`; each of 0 to k - 1 occurs.
        train: Which rows each fit is trained on, `[fits, n]`.
        absent: Which classes have no training row in each fit, `[fits, k]`.
        mean_squares: (Weighted) mean square of each column of the scores, `[r + 1]`.
        weight: How many times each row counts, `[n]` float32.
        projection: From features to scores without the column of ones; None where these are stored.
    """

    scores: NDArray[np.float32]
    y: Labels
    train: Mask
    absent: Mask
    mean_squares: NDArray[np.float64]
    weight: NDArray[np.float32]
    projection: Projection | None = None

    @classmethod
    def from_masks(
        cls,
        scores: NDArray[np.float32],
        y: Labels,
        train: Mask,
        weight: NDArray[np.float64] | None = None,
        projection: Projection | None = None,
    ) -> SoftmaxRegressions:
        """Return the fits to the rows that `train [fits, n]` selects.

        Args:
            scores: Rows, `[n, r + 1]`, the last column ones; features where there is a projection.
            y: Class of each row, `[n]`.
            train: Training rows of each fit, `[fits, n]`.
            weight: How many times each row counts, `[n]`, > 0; None counts each once.
            projection: From features to scores.
        """
        k = int(y.max()) + 1
        absent = np.stack([np.bincount(y[t], minlength=k) == 0 for t in train])
        row_weight = np.ones(len(y), np.float32) if weight is None else weight.astype(np.float32)
        if projection is not None:
            mean_squares = np.append(projection.mean_squares, 1.0)
            return cls(scores, y, train, absent, mean_squares, row_weight, projection)
        weighted = scores if weight is None else scores * row_weight[:, None]
        n = len(y) if weight is None else float(weight.sum())
        mean_squares = np.einsum("ij,ij->j", weighted, scores, dtype=np.float64) / n
        return cls(scores, y, train, absent, mean_squares, row_weight)

    def init_parameters(self) -> Parameters:
        """Return weights of 0 and log class frequencies as intercepts, `[fits, k, r + 1]`."""
        fits, k = self.absent.shape
        counts = np.stack([np.bincount(self.y[t], self.weight[t], minlength=k) for t in self.train])
        thetas = np.zeros((fits, k, len(self.mean_squares)))
        positive = np.where(self.absent, 1, counts)
        thetas[:, :, -1] = np.log(positive / counts.sum(1, keepdims=True))
        return thetas

    def solve(
        self,
        thetas: Parameters,
        penalty: float,
        tolerance: float,
        history: CurvatureHistory | None = None,
    ) -> tuple[Parameters, float]:
        """Return the minima `[fits, k, r + 1]` and the mean log loss of held-out rows.

        A fit minimizes its summed log loss plus `penalty / 2` times its squared weights. Its
        held-out loss excludes rows of classes that it has no training row of.

        Args:
            thetas: Starting points, `[fits, k, r + 1]`.
            penalty: L2 penalty, >= 0.
            tolerance: Relative decrease of the objective at which a fit stops.
            history: Of the same fits under another penalty; updated.
        """
        curvature = self.bound_curvature(thetas, penalty)
        pairs = (history or CurvatureHistory()).change_penalty(penalty, len(thetas))
        optimizers = [
            minimize_lbfgs(t, c, tolerance, pairs=p)
            for t, c, p in zip(thetas, curvature, pairs, strict=True)
        ]
        points = [next(optimizer) for optimizer in optimizers]
        held_out_loss = np.zeros(len(optimizers))
        active = list(range(len(optimizers)))
        while active:
            evaluations = self.evaluate(np.stack([points[i] for i in active]), active, penalty)
            for i, value, gradient, fit_loss in zip(list(active), *evaluations, strict=True):
                held_out_loss[i] = fit_loss
                try:
                    points[i] = optimizers[i].send((float(value), gradient))
                except StopIteration as done:
                    points[i] = done.value
                    active.remove(i)
        is_held_out = ~self.train & ~self.absent[:, self.y]
        n_held_out = np.where(is_held_out, self.weight, 0).sum(dtype=np.float64)
        return np.stack(points), float(held_out_loss.sum() / (n_held_out or 1))

    def bound_curvature(self, thetas: Parameters, penalty: float) -> Parameters:
        """Return the diagonal of the Hessian as if scores and classes were independent, > 0."""
        variance = np.zeros(thetas.shape[:2])
        for start in range(0, len(self.y), self._chunk_size):
            p, _ = self._compute_probabilities(thetas, range(len(thetas)), start)
            weight = self._train_weight(range(len(thetas)), start)[:, :, None]
            variance += (weight * (p - p * p)).sum(0)
        curvature = variance[:, :, None] * self.mean_squares
        curvature[:, :, :-1] += penalty
        return np.asarray(np.maximum(curvature, 1e-6 * curvature.max() + 1e-9))

    def evaluate(
        self, thetas: Parameters, fit_ids: list[int], penalty: float
    ) -> tuple[NDArray[np.float64], Parameters, NDArray[np.float64]]:
        """Return value `[f]`, gradient `[f, k, r + 1]` and summed held-out loss `[f]` of fits."""
        f, k, r = thetas.shape
        value = 0.5 * penalty * np.einsum("fkr,fkr->f", thetas[:, :, :-1], thetas[:, :, :-1])
        width = r if self.projection is None else self.scores.shape[1] + 1
        gradient, held_out_loss = np.zeros((width, f * k)), np.zeros(f)
        for start in range(0, len(self.y), self._chunk_size):
            p, loss = self._compute_probabilities(thetas, fit_ids, start)
            z, y = self._take_rows(start), self.y[start : start + self._chunk_size]
            train = self.train[fit_ids, start : start + self._chunk_size].T
            weight = self._train_weight(fit_ids, start)
            out = ~train & ~self.absent[fit_ids][:, y].T
            loss *= self.weight[start : start + self._chunk_size, None]
            value += np.where(train, loss, 0).sum(0, dtype=np.float64)
            held_out_loss += np.where(out, loss, 0).sum(0, dtype=np.float64)
            p *= weight[:, :, None]
            p[np.arange(len(y)), :, y] -= weight
            gradient += z.T @ p.reshape(len(y), f * k)
        if self.projection is not None:
            gradient = self.projection.rotate_gradient(gradient)
        fit_gradient = np.ascontiguousarray(gradient.T).reshape(f, k, r)
        fit_gradient[:, :, :-1] += penalty * thetas[:, :, :-1]
        return value, fit_gradient, held_out_loss

    @property
    def _chunk_size(self) -> int:
        return CHUNK_SIZE if self.projection is None else PROJECTED_CHUNK_SIZE

    def _take_rows(self, start: int) -> NDArray[np.float32]:
        """Return a chunk of the rows with a last column of ones."""
        part = self.scores[start : start + self._chunk_size]
        return part if self.projection is None else self.projection.centre_rows(part)

    def _train_weight(self, fit_ids: list[int] | range, start: int) -> NDArray[np.float32]:
        """Return the weight of a chunk's rows in each fit, `[rows, f]`: 0 where held out."""
        part = slice(start, start + self._chunk_size)
        return np.asarray(self.train[fit_ids, part].T * self.weight[part, None])

    def _compute_probabilities(
        self, thetas: Parameters, fit_ids: list[int] | range, start: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return probabilities `[rows, f, k]` and log losses `[rows, f]` of a chunk, in float32."""
        f, k, r = thetas.shape
        z, y = self._take_rows(start), self.y[start : start + self._chunk_size]
        parameters = thetas.reshape(f * k, r).astype(np.float32)
        if self.projection is not None:
            parameters = self.projection.rotate_parameters(parameters)
        p = (z @ parameters.T).reshape(len(y), f, k)
        p += np.where(self.absent[fit_ids], np.float32(MASKED_LOGIT), np.float32(0))
        p -= p.max(2, keepdims=True)
        true = p[np.arange(len(y)), :, y]
        np.exp(p, out=p)
        total = p.sum(2, keepdims=True)
        p /= total
        return p, np.log(total[:, :, 0]) - true
