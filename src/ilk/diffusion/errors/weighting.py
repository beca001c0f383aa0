"""Weights of noise levels, fixed or learned from a few labelled images.

A score is `- sum_j w_j e_j`, with `e_j` the error of the clean image at level j:

    uniform      w = 1
    likelihood   w = 1 / sigma^2: the plain mean of epsilon errors
                 (`ilk.diffusion.errors.class_errors`)
    fading       w = exp(-7 t) / sigma^2, with t = 2/pi atan(sigma) the time of a cosine schedule
    learned      w that maximise the likelihood of the labels under a softmax of the scores

(absolute errors are divided by sigma once; Huber errors have the unit of squared ones). Fading is
by Kevin Clark and Priyank Jaini, 2023, Text-to-Image Diffusion Models are Zero-Shot Classifiers,
arXiv 2303.15233; learning by Yujin Jeong and others, 2025, Diffusion Classifiers Understand
Compositionality, but Conditions Apply, arXiv 2505.17955, section 5.4. Departure from the latter,
which uses early stopping: a Gaussian prior on the log ratio to the likelihood weights, whose width
is chosen by cross-validation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from ilk.core.errors import InputError, UnknownName
from ilk.diffusion.errors.denoising_errors import DISTANCE_POWERS
from ilk.maths.folds import assign_folds

Array = NDArray[np.float64]

PRIOR_WIDTHS = (0.0, 0.1, 0.3, 1.0, 3.0)  # of log ratios; 0 gives the base weights
TEMPERATURE_PRIOR_WIDTH = 3.0  # of the log temperature; keeps separable problems finite
DECAY_RATE = 7.0  # of `fading`


def weigh_uniformly(sigmas: Array, distance: str = "l2") -> Array:
    """Return equal weights `[levels]`."""
    return np.ones(len(sigmas))


def weigh_by_likelihood(sigmas: Array, distance: str = "l2") -> Array:
    """Return weights `[levels]`, mean 1, under which errors sum to a likelihood bound."""
    weights = sigmas ** -DISTANCE_POWERS[distance]
    return np.asarray(weights / weights.mean())


def weigh_by_decay(sigmas: Array, distance: str = "l2") -> Array:
    """Return likelihood weights `[levels]` that decay with time, mean 1."""
    weights = weigh_by_likelihood(sigmas, distance) * np.exp(
        -DECAY_RATE * 2 / np.pi * np.arctan(sigmas)
    )
    return np.asarray(weights / weights.mean())


WEIGHTINGS: dict[str, Callable[[Array, str], Array]] = {
    "uniform": weigh_uniformly,
    "likelihood": weigh_by_likelihood,
    "fading": weigh_by_decay,
}


def get_weighting(name: str) -> Callable[[Array, str], Array]:
    """Return the function `(sigmas [levels], distance) -> weights [levels]` called `name`.

    Raises:
        UnknownName: There is none.
    """
    if name not in WEIGHTINGS:
        raise UnknownName("weighting of noise levels", name, WEIGHTINGS)
    return WEIGHTINGS[name]


@dataclass(frozen=True)
class WeightEstimator:
    """Learns weights of the form `w = base * exp(u)`, which are positive.

    Attributes:
        form: `polynomial` (u is a polynomial in ln sigma, for few images) or `piecewise` (one u per
            level, for about ten images per level and more).
        degree: Degree of the polynomial, >= 1.
        folds: Folds of the cross-validation, >= 2.
        base: Name of the weighting that the prior is centred on.

    Raises:
        InputError: A number is out of range.
        UnknownName: The form or the base is unknown.
    """

    form: str = "polynomial"
    degree: int = 3
    folds: int = 5
    base: str = "likelihood"

    def __post_init__(self) -> None:
        if self.form not in ("piecewise", "polynomial"):
            raise UnknownName("form of weights", self.form, ("piecewise", "polynomial"))
        if self.degree < 1 or self.folds < 2:
            raise InputError(
                f"a polynomial of degree {self.degree} over {self.folds} folds cannot be fitted; "
                "the degree must be at least 1 and the folds 2"
            )
        get_weighting(self.base)

    def compute_basis(self, sigmas: Array) -> Array:
        """Return the basis `[levels, r]` of u for noise levels `[levels]`."""
        if self.form == "piecewise":
            return np.eye(len(sigmas))
        t = np.log(sigmas)
        t = 2 * (t - t.min()) / max(float(np.ptp(t)), 1e-12) - 1
        return np.asarray(np.polynomial.legendre.legvander(t, self.degree)[:, 1:])

    def fit_weights(
        self, errors: Array, y: NDArray[np.int64], sigmas: Array, distance: str
    ) -> Array:
        """Return weights `[levels]`, mean 1, fitted to errors `[n, k, levels]` and classes `y`
        `[n]`.
        """
        base = get_weighting(self.base)(sigmas, distance)
        contrasts = (errors - errors.mean(1, keepdims=True)) * base
        contrasts = contrasts / max(float(contrasts.sum(2).std()), 1e-300)
        problem = _WeightProblem(contrasts, self.compute_basis(sigmas))
        width = self._select_width(problem, y)
        u = problem.basis @ problem.fit(np.arange(len(y)), y, width)[1:]
        weights = base * np.exp(u - u.max())
        return np.asarray(weights / weights.mean())

    def _select_width(self, problem: _WeightProblem, y: NDArray[np.int64]) -> float:
        """Return the prior width with the lowest validation loss; the narrowest of equals."""
        folds = min(self.folds, len(y))
        if folds < 2:
            return 0.0
        fold_ids, losses = assign_folds(y, folds), np.zeros(len(PRIOR_WIDTHS))
        for fold in range(folds):
            train, test = np.flatnonzero(fold_ids != fold), np.flatnonzero(fold_ids == fold)
            for i, width in enumerate(PRIOR_WIDTHS):
                losses[i] += problem.compute_losses(problem.fit(train, y, width), test, y).sum()
        return PRIOR_WIDTHS[int(np.argmin(np.round(losses / len(y), 9)))]


@dataclass(frozen=True, eq=False)
class _WeightProblem:
    """Cross-entropy of `softmax(- sum_j exp(tau + u_j) contrast_j)`; theta holds tau and the
    coefficients of u.
    """

    contrasts: Array
    basis: Array

    def compute_factors(self, theta: Array) -> Array:
        """Return the factor of each level, `[levels]`, clipped to avoid overflow."""
        return np.asarray(np.exp(np.clip(theta[0] + self.basis @ theta[1:], -50, 50)))

    def compute_losses(self, theta: Array, rows: NDArray[Any], y: NDArray[np.int64]) -> Array:
        """Return the loss of each of `rows`, in nats."""
        logits = -(self.contrasts[rows] @ self.compute_factors(theta))
        logits -= logits[np.arange(len(rows)), y[rows]][:, None]
        return np.asarray(np.logaddexp.reduce(logits, axis=1))

    def compute_loss_and_gradient(
        self, theta: Array, rows: NDArray[Any], y: NDArray[np.int64]
    ) -> tuple[float, Array]:
        """Return the mean loss over `rows` and its gradient."""
        factors, contrasts, label = self.compute_factors(theta), self.contrasts[rows], y[rows]
        logits = -(contrasts @ factors)
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        p[np.arange(len(label)), label] -= 1
        gradient = -np.tensordot(p, contrasts, ((0, 1), (0, 1))) / len(label) * factors
        value = float(self.compute_losses(theta, rows, y).mean())
        return value, np.concatenate([[gradient.sum()], self.basis.T @ gradient])

    def fit(self, rows: NDArray[Any], y: NDArray[np.int64], width: float) -> Array:
        """Return the maximum a posteriori theta given `rows` and a prior of this width on u."""
        start, n = np.zeros(1 + self.basis.shape[1]), len(rows)
        free = len(start) if width else 1
        precision = (
            np.concatenate([[TEMPERATURE_PRIOR_WIDTH**-2], np.full(free - 1, (width or 1.0) ** -2)])
            / n
        )

        def penalized(part: Array) -> tuple[float, Array]:
            theta = start.copy()
            theta[:free] = part
            value, gradient = self.compute_loss_and_gradient(theta, rows, y)
            return value + 0.5 * float(precision @ part**2), gradient[:free] + precision * part

        result = minimize(penalized, start[:free], jac=True, method="L-BFGS-B")
        start[:free] = result.x
        return start
