"""Transductive information maximization: confident and diverse predictions, by alpha-entropies.

Olivier Veilleux, Malik Boudiaf, Pablo Piantanida, Ismail Ben Ayed, 2021, Realistic Evaluation of
Transductive Few-Shot Learning, arXiv 2204.11181. With p_n = softmax_k(t (x_n . w_k - |w_k|^2 / 2)),

    minimise over w   - mean log p_n,y  [labelled]  - H_a(mean_n p_n)  + mean_n H_b(p_n)
    H_a(p) = (1 - sum_k p_k^a) / (a - 1)

the last two over unlabelled rows: predictions are confident (b), and not all the same (a). The
higher a, the less an uneven mean prediction costs, which suits uneven class priors.

Departures: t is estimated from labelled rows by leave-one-out; rows are unit vectors about the
labelled mean, as in the paper; the loss is smooth and small, so that a few steps of L-BFGS replace
a thousand of Adam; and a guard drops the unlabelled rows where they look harmful. The guard
requires evidence of uneven class priors; where features are too poor to show them, it forgoes a
gain that this method, unlike soft k-means, may still have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ilk.core.contracts import MethodTags
from ilk.core.data import Data, one_hot
from ilk.core.metrics import softmax
from ilk.maths.gaussian import Matrix
from ilk.maths.pca import weighted_mean
from ilk.transduction.gaussian_em import CentredCosine, UnitRows
from ilk.transduction.guard import fit_guarded


@dataclass(frozen=True, eq=False)
class TransductivePrototypes(CentredCosine):
    """Optimized prototypes."""

    kind: ClassVar[str] = "transductive_prototypes"


@dataclass(frozen=True)
class AlphaTIM(MethodTags):
    """Transductive information maximisation with alpha-entropies.

    Attributes:
        marginal: Order a of the entropy of the mean prediction, > 0; 1 is Shannon's.
        conditional: Order b of the entropy of each prediction, > 0; 1 is Shannon's.
        max_iter: Maximum number of L-BFGS steps, >= 1; few stay near the labelled means.
        guard: Use the unlabelled rows only if they improve accuracy on hidden labelled rows.
    """

    uses_unlabelled = True
    supports_weights = True

    marginal: float = 7.0
    conditional: float = 5.0
    max_iter: int = 20
    guard: bool = True

    def __post_init__(self) -> None:
        for name in ("marginal", "conditional"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")
        if self.max_iter < 1:
            raise ValueError(f"max_iter is {self.max_iter}; at least 1 is needed")

    def fit(self, data: Data) -> TransductivePrototypes:
        return fit_guarded(data, self._fit, self.guard)

    def _fit(self, data: Data) -> TransductivePrototypes:
        from scipy.optimize import minimize

        sphere = UnitRows.from_data(data, self)
        t = sphere.fit_inverse_temperature()
        if not len(sphere.unlabelled):
            return TransductivePrototypes(*sphere.make_parameters(t, sphere.means))
        reduced, basis = sphere.project_to_span()
        shape = reduced.means.shape

        def loss(w: Matrix) -> tuple[float, Matrix]:
            value, gradient = compute_loss(
                reduced, t, w.reshape(shape), (self.marginal, self.conditional)
            )
            return value, gradient.ravel()

        result = minimize(
            loss,
            reduced.means.ravel(),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": self.max_iter},
        )
        means = result.x.reshape(shape)
        return TransductivePrototypes(
            *sphere.make_parameters(t, means if basis is None else means @ basis.T)
        )


def compute_loss(
    sphere: UnitRows, t: float, w: Matrix, orders: tuple[float, float]
) -> tuple[float, Matrix]:
    """Return the loss of prototypes `w [k, d]` and its gradient `[k, d]`.

    Args:
        sphere: Labelled and unlabelled rows.
        t: Inverse temperature.
        w: Prototypes, `[k, d]`.
        orders: Orders of the marginal and the conditional entropy.
    """
    labelled_sphere = UnitRows(
        sphere.centre, sphere.labelled, sphere.y, sphere.labelled, sphere.counts, w
    )
    targets = one_hot(sphere.y, len(w))
    probabilities = softmax(labelled_sphere.score_unlabelled(t, w), axis=1)
    p = softmax(sphere.score_unlabelled(t, w), axis=1)
    mean_p = weighted_mean(p, sphere.unlabelled_weight)[None]
    marginal = tsallis_entropy(mean_p, orders[0])
    conditional = tsallis_entropy(p, orders[1])
    value = weighted_mean(conditional[0], sphere.unlabelled_weight) - marginal[0][0]
    log_p = np.log(np.maximum((probabilities * targets).sum(1), 1e-300))
    value -= weighted_mean(log_p, sphere.weight)
    g = (conditional[1] - marginal[1]) / _divisors(sphere.unlabelled_weight, len(p))
    gradient = p * g - p * (p * g).sum(1, keepdims=True)
    labelled_gradient = (probabilities - targets) / _divisors(sphere.weight, len(targets))
    parts = ((sphere.labelled, labelled_gradient), (sphere.unlabelled, gradient))
    return float(value), sum(t * (s.T @ x - s.sum(0)[:, None] * w) for x, s in parts)


def _divisors(weight: Matrix | None, n: int) -> Matrix | int:
    """Return n, or the total weight over the weight of each row, `[n, 1]`: divisors in a mean."""
    return n if weight is None else (weight.sum() / weight)[:, None]


def tsallis_entropy(p: Matrix, order: float) -> tuple[Matrix, Matrix]:
    """Return the Tsallis entropy of each row of `p [n, k]`, `[n]`, and its gradient, `[n, k]`."""
    a = order if abs(order - 1) > 1e-4 else 1 + 1e-4  # Shannon's entropy is the limit
    p = np.maximum(p, 1e-12)
    return (1 - (p**a).sum(1)) / (a - 1), -a * p ** (a - 1) / (a - 1)
