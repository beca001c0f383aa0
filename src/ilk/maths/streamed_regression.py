"""L2-penalized softmax regression on rows that are read block by block.

    minimise  f(W, b) = sum_i -log softmax(W (x_i - centre) + b)[y_i] + |W|^2 / (2 C)

C, and a starting point, come from an ordinary fit (`ilk.maths.logistic_regression`) to a random
sample that is held; L-BFGS then takes one pass over all rows per evaluation, in the principal axes
of all rows, which their statistics give. It stops where the decrease that its quadratic model
predicts is below `TOLERANCE` of the loss.

How far f is from its minimum is bounded by Fenchel duality: with p_i the probabilities and
G = sum_i (p_i - e_yi)(x_i - centre)', the dual point p - e has the gap

    f - min f <= f - dual = C / 2 |G + W / C|^2 + b' sum_i (p_i - e_yi)

which is certain but loose where C is large; both figures are reported.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Data
from ilk.core.row_stream import RowStream
from ilk.maths.lbfgs import minimize_lbfgs
from ilk.maths.logistic_regression import RegressionResult, fit_regression
from ilk.maths.pca import select_axes
from ilk.maths.sampling import sample_by_class
from ilk.maths.softmax_regression import Projection, SoftmaxRegressions

SAMPLE_ROWS = 10_000  # rows that choose C and give the starting point
TOLERANCE = 3e-5  # relative decrease still predicted at which the passes end
MAX_PASSES = 60

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class StreamedRegression:
    """A regression, and how far it may be from the minimum.

    Attributes:
        result: The regression.
        n_sample: Rows that chose C.
        n_passes: Passes over all rows.
        loss: Mean loss of a row without the penalty, in nats.
        predicted_gap: Decrease of the mean objective that the last quadratic model predicted.
        certain_gap: Upper bound on the decrease of the mean objective, by duality.
    """

    result: RegressionResult
    n_sample: int
    n_passes: int
    loss: float
    predicted_gap: float
    certain_gap: float

    def __str__(self) -> str:
        return (
            f"fitted in {self.n_passes} passes over the rows, C = {self.result.C:.3g} chosen on "
            f"{self.n_sample:,} of them; log loss on them {self.loss:.4f}, from which the full fit "
            f"is {self.predicted_gap:.1e} nats away by its quadratic model, and at most "
            f"{self.certain_gap:.1e} by duality"
        )


def fit_streamed_regression(
    rows: RowStream, C: float | None = None, n_folds: int = 5, seed: int = 0
) -> StreamedRegression:
    """Fit softmax regression to rows that are read block by block.

    Args:
        rows: Labelled rows.
        C: Inverse of the penalty, > 0; None chooses it on the sample, as `fit_regression` does.
        n_folds: Folds of the sample that choose `C`.
        seed: Seed of the sample and its folds.
    """
    sample = sample_by_class(rows.y, SAMPLE_ROWS, seed, rows.group)
    held = Data(rows.take(sample), rows.y[sample], rows.classes, group=rows.group[sample])
    start = fit_regression(held, C, n_folds, seed)
    problem = _Problem.from_stream(rows, start.C)
    theta = problem.to_parameters(start)
    curvature = problem.bound_curvature(theta, held)
    optimizer = minimize_lbfgs(theta, curvature, TOLERANCE, max_iter=MAX_PASSES)
    best, n_passes = None, 0
    point = next(optimizer)
    while True:
        loss, gradient = problem.evaluate(point)
        value = loss + problem.add_penalty(point, gradient)
        n_passes += 1
        if best is None or value <= best[0]:
            best = (value, loss, point, gradient)
        try:
            if n_passes >= MAX_PASSES:
                break
            point = optimizer.send((value, gradient))
        except StopIteration:
            break
    _, loss, point, gradient = best
    slope = float(np.sum(gradient**2 / curvature)) / 2
    return StreamedRegression(
        problem.to_result(point, rows),
        len(sample),
        n_passes,
        loss / len(rows.y),
        slope / len(rows.y),
        problem.bound_gap(point, gradient) / len(rows.y),
    )


@dataclass(frozen=True, eq=False)
class _Problem:
    """The objective on all rows, of parameters in their principal axes.

    Attributes:
        rows: The rows.
        present: Classes with rows, `[m]`.
        label: Position of each class in `present`, `[k]`.
        basis: Principal axes, `[d, r]`.
        scale: Root mean variance of a feature.
        projection: From features to scores.
        penalty: On the squared weights of scores.
    """

    rows: RowStream
    present: NDArray[np.int64]
    label: NDArray[np.int64]
    centre: Matrix
    basis: Matrix
    scale: float
    projection: Projection
    penalty: float

    @classmethod
    def from_stream(cls, rows: RowStream, C: float) -> _Problem:
        stats = rows.statistics
        centre = stats.centre.astype(np.float32).astype(np.float64)
        centred = np.where(stats.present[:, None], stats.means - centre, 0.0)
        eigenvalues, vectors = np.linalg.eigh(
            stats.scatter + (stats.counts[:, None] * centred).T @ centred
        )
        kept = select_axes(eigenvalues)
        eigenvalues, basis = eigenvalues[kept], vectors[:, kept]
        scale = float(np.sqrt(eigenvalues.sum() / (stats.n * rows.d))) or 1.0
        projection = Projection(
            centre.astype(np.float32),
            (basis / scale).astype(np.float32),
            eigenvalues / (scale**2 * stats.n),
        )
        present = np.flatnonzero(stats.present)
        label = np.full(len(stats.counts), -1, np.int64)
        label[present] = np.arange(len(present))
        return cls(rows, present, label, centre, basis, scale, projection, 1 / (C * scale**2))

    def to_parameters(self, start: RegressionResult) -> Matrix:
        """Return the parameters `[m, r + 1]` of a regression of features."""
        weight = start.weight[self.present]
        bias = start.bias[self.present] + weight @ (self.centre - start.centre)
        lowest = bias[np.isfinite(bias)].min(initial=0.0)  # of classes that the sample lacks
        bias = np.where(np.isfinite(bias), bias, lowest)
        return np.column_stack([weight @ self.basis * self.scale, bias])

    def to_result(self, theta: Matrix, rows: RowStream) -> RegressionResult:
        """Return the regression of features with parameters `[m, r + 1]`."""
        k = len(rows.classes)
        weight, bias = np.zeros((k, rows.d)), np.full(k, -np.inf)
        weight[self.present] = theta[:, :-1] @ self.basis.T / self.scale
        bias[self.present] = theta[:, -1]
        return RegressionResult(self.centre, weight, bias, 1 / (self.penalty * self.scale**2))

    def evaluate(self, theta: Matrix) -> tuple[float, Matrix]:
        """Return the summed log loss of all rows and its gradient, in one pass."""
        value, gradient = 0.0, np.zeros(theta.shape)
        for at, x in self.rows.iterate():
            values, gradients, _ = self._regress(x, self.rows.y[at]).evaluate(theta[None], [0], 0.0)
            value += float(values[0])
            gradient += gradients[0]
        return value, gradient

    def add_penalty(self, theta: Matrix, gradient: Matrix) -> float:
        """Add the gradient of the penalty to `gradient`, and return the penalty."""
        gradient[:, :-1] += self.penalty * theta[:, :-1]
        return 0.5 * self.penalty * float(np.vdot(theta[:, :-1], theta[:, :-1]))

    def bound_curvature(self, theta: Matrix, held: Data) -> Matrix:
        """Return the diagonal of the Hessian, as if scores were independent, from held rows."""
        sample = self._regress(held.x, held.y)
        data_part = sample.bound_curvature(theta[None], 0.0)[0] * len(self.rows.y) / len(held)
        data_part[:, :-1] += self.penalty
        return np.asarray(data_part)

    def bound_gap(self, theta: Matrix, gradient: Matrix) -> float:
        """Return the duality gap of parameters with this gradient, penalty included."""
        weights = float(np.vdot(gradient[:, :-1], gradient[:, :-1])) / (2 * self.penalty)
        return weights + abs(float(theta[:, -1] @ gradient[:, -1]))

    def _regress(self, x: NDArray[np.float32], y: NDArray[np.int64]) -> SoftmaxRegressions:
        """Return the regression on some rows."""
        return SoftmaxRegressions(
            x,
            self.label[y],
            np.ones((1, len(y)), bool),
            np.zeros((1, len(self.present)), bool),
            np.append(self.projection.mean_squares, 1.0),
            np.ones(len(y), np.float32),
            self.projection,
        )
