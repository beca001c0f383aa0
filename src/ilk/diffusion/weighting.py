"""How much each noise level counts: by rule, or learned from a few labelled images.

A score is `- sum_j w_j e_j`, with `e_j` the error of the clean image at level j. In terms of it:

    uniform      w = 1
    likelihood   w = 1 / sigma^2: the plain mean of the errors of epsilon (`ilk.diffusion.classify`)
    fading       w = exp(-7 t) / sigma^2, t = 2/pi atan(sigma) the time of a cosine schedule
    learned      w that make the softmax of the scores likeliest to name the labels

(an absolute error is divided by sigma once). Fading is by Kevin Clark and Priyank Jaini, 2023,
Text-to-Image Diffusion Models are Zero-Shot Classifiers, arXiv 2303.15233; learning by Yujin Jeong
and others, 2025, Diffusion Classifiers Understand Compositionality, but Conditions Apply,
arXiv 2505.17955, section 5.4, who stop early on a validation part. Here the weights are held to
the likelihood's by a Gaussian prior on their log ratio instead, whose width cross-validation
chooses: 20 images then move what they can tell, and no more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from ilk.diffusion.calls import DISTANCES
from ilk.errors import InputError, UnknownName
from ilk.maths.folds import stratified

Array = NDArray[np.float64]

WIDTHS = (0.0, 0.1, 0.3, 1.0, 3.0)  # of the prior on log ratios; 0 leaves the likelihood's weights
LOOSE = 3.0  # width of the prior on the log temperature: it only keeps separable images finite
RATE = 7.0  # of fading


def uniform(sigmas: Array, distance: str = "l2") -> Array:
    """Every level counts the same, `[levels]`."""
    return np.ones(len(sigmas))


def likelihood(sigmas: Array, distance: str = "l2") -> Array:
    """Weights `[levels]`, mean 1, under which errors add up to a likelihood bound."""
    weights = sigmas ** -DISTANCES[distance]
    return np.asarray(weights / weights.mean())


def fading(sigmas: Array, distance: str = "l2") -> Array:
    """Weights `[levels]`, mean 1, that fall with time on top of the likelihood's."""
    weights = likelihood(sigmas, distance) * np.exp(-RATE * 2 / np.pi * np.arctan(sigmas))
    return np.asarray(weights / weights.mean())


WEIGHTINGS: dict[str, Callable[[Array, str], Array]] = {
    "uniform": uniform,
    "likelihood": likelihood,
    "fading": fading,
}


def weighting(name: str) -> Callable[[Array, str], Array]:
    """The rule called `name`.

    Raises:
        UnknownName: There is none.
    """
    if name not in WEIGHTINGS:
        raise UnknownName("weighting of noise levels", name, WEIGHTINGS)
    return WEIGHTINGS[name]


@dataclass(frozen=True)
class Fit:
    """How weights are learned: `w = base * exp(u)`, so none falls below 0.

    Attributes:
        form: `polynomial`, u one of ln sigma, for few images; `piecewise`, one u a level, which
            wants about ten images a level.
        degree: Of the polynomial, >= 1.
        folds: Of the cross-validation, >= 2.
        base: Name of the weighting that is held to.
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
        weighting(self.base)

    def basis(self, sigmas: Array) -> Array:
        """u is this `[levels, r]` times what is fitted."""
        if self.form == "piecewise":
            return np.eye(len(sigmas))
        t = np.log(sigmas)
        t = 2 * (t - t.min()) / max(float(np.ptp(t)), 1e-12) - 1
        return np.asarray(np.polynomial.legendre.legvander(t, self.degree)[:, 1:])

    def weights(self, errors: Array, y: NDArray[np.int64], sigmas: Array, distance: str) -> Array:
        """Weights `[levels]` of mean 1 for errors `[n, k, levels]` of images of classes `y`."""
        base = weighting(self.base)(sigmas, distance)
        told = (errors - errors.mean(1, keepdims=True)) * base
        told = told / max(float(told.sum(2).std()), 1e-300)
        problem = _Problem(told, self.basis(sigmas))
        width = self._width(problem, y)
        u = problem.basis @ problem.fit(np.arange(len(y)), y, width)[1:]
        weights = base * np.exp(u - u.max())
        return np.asarray(weights / weights.mean())

    def _width(self, problem: _Problem, y: NDArray[np.int64]) -> float:
        """The prior under which images held out are told best; of equals the narrowest."""
        folds = min(self.folds, len(y))
        if folds < 2:
            return 0.0
        part, lost = stratified(y, folds), np.zeros(len(WIDTHS))
        for fold in range(folds):
            kept, out = np.flatnonzero(part != fold), np.flatnonzero(part == fold)
            for i, width in enumerate(WIDTHS):
                lost[i] += problem.losses(problem.fit(kept, y, width), out, y).sum()
        return WIDTHS[int(np.argmin(np.round(lost / len(y), 9)))]


@dataclass(frozen=True, eq=False)
class _Problem:
    """Cross-entropy of `softmax(- sum_j exp(tau + u_j) told_j)`; theta is tau and u's parts."""

    told: Array
    basis: Array

    def factors(self, theta: Array) -> Array:
        """What each level is multiplied with, `[levels]`; cut where a search goes astray."""
        return np.asarray(np.exp(np.clip(theta[0] + self.basis @ theta[1:], -50, 50)))

    def losses(self, theta: Array, rows: NDArray[Any], y: NDArray[np.int64]) -> Array:
        """Of each of `rows`, in nats."""
        logits = -(self.told[rows] @ self.factors(theta))
        logits -= logits[np.arange(len(rows)), y[rows]][:, None]
        return np.asarray(np.logaddexp.reduce(logits, axis=1))

    def loss(self, theta: Array, rows: NDArray[Any], y: NDArray[np.int64]) -> tuple[float, Array]:
        """Mean over `rows`, and its slope."""
        factors, told, label = self.factors(theta), self.told[rows], y[rows]
        logits = -(told @ factors)
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        p[np.arange(len(label)), label] -= 1
        down = -np.tensordot(p, told, ((0, 1), (0, 1))) / len(label) * factors
        value = float(self.losses(theta, rows, y).mean())
        return value, np.concatenate([[down.sum()], self.basis.T @ down])

    def fit(self, rows: NDArray[Any], y: NDArray[np.int64], width: float) -> Array:
        """The theta that is likeliest after `rows`, with a prior of this width on u."""
        start, n = np.zeros(1 + self.basis.shape[1]), len(rows)
        free = len(start) if width else 1
        hold = np.concatenate([[LOOSE**-2], np.full(free - 1, (width or 1.0) ** -2)]) / n

        def penalised(part: Array) -> tuple[float, Array]:
            theta = start.copy()
            theta[:free] = part
            value, slope = self.loss(theta, rows, y)
            return value + 0.5 * float(hold @ part**2), slope[:free] + hold * part

        done = minimize(penalised, start[:free], jac=True, method="L-BFGS-B")
        start[:free] = done.x
        return start
