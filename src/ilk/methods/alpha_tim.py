"""Few labels and many rows without: prototypes moved to make sure and varied answers, by entropies.

Olivier Veilleux, Malik Boudiaf, Pablo Piantanida, Ismail Ben Ayed, 2021, Realistic Evaluation of
Transductive Few-Shot Learning, arXiv 2204.11181. With p_n = softmax_k(t (x_n . w_k - |w_k|^2 / 2)),

    minimise over w   - mean log p_n,y  [labelled]  - H_a(mean_n p_n)  + mean_n H_b(p_n)
    H_a(p) = (1 - sum_k p_k^a) / (a - 1)

the last two over rows without a label: answers sure of themselves (b), and not all the same (a).
The higher a, the less an uneven mean answer costs, which is what uneven queries need.

We depart in three things: rows are directions about the labelled mean, as in the paper, but t is
estimated from labelled rows scored without themselves; the loss is smooth and small, so that some
steps of L-BFGS take the place of a thousand of Adam; and a guard answers without the unlabelled
rows where they look harmful. The guard asks for uneven shares in evidence, and where features are
too poor to show them it gives up what this method, unlike soft k-means, can still gain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from ilk.data import Data, one_hot
from ilk.maths.gaussian import Matrix
from ilk.metrics import softmax
from ilk.models import Facts
from ilk.unlabelled.guarded import guarded
from ilk.unlabelled.transduction import Directions, Sphere


@dataclass(frozen=True, eq=False)
class Moved(Directions):
    """Prototypes after they were moved."""


@dataclass(frozen=True)
class AlphaTIM(Facts):
    """Transductive information maximisation with alpha-entropies.

    Attributes:
        marginal: The order a of the mean answer's entropy, > 0; 1 is Shannon's.
        conditional: The order b of each answer's entropy, > 0; 1 is Shannon's.
        rounds: Steps of L-BFGS at most, >= 1; few of them stay near the labelled means.
        guard: Answer without the unlabelled rows unless hidden labelled rows speak for them.
    """

    uses_unlabelled = True

    marginal: float = 7.0
    conditional: float = 5.0
    rounds: int = 20
    guard: bool = True

    def __post_init__(self) -> None:
        for name in ("marginal", "conditional"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; an order is above 0")
        if self.rounds < 1:
            raise ValueError(f"rounds is {self.rounds}; at least 1 is needed")

    def fit(self, data: Data) -> Moved:
        return guarded(data, self._fit) if self.guard else self._fit(data)

    def _fit(self, data: Data) -> Moved:
        sphere = Sphere.of(data, self)
        t = sphere.sharpness()
        if not len(sphere.free):
            return Moved(*sphere.rule(t, sphere.means))
        small, basis = sphere.reduced()
        shape = small.means.shape

        def loss(w: Matrix) -> tuple[float, Matrix]:
            value, slope = objective(small, t, w.reshape(shape), (self.marginal, self.conditional))
            return value, slope.ravel()

        found = minimize(
            loss, small.means.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": self.rounds}
        )
        means = found.x.reshape(shape)
        return Moved(*sphere.rule(t, means if basis is None else means @ basis.T))


def objective(
    sphere: Sphere, t: float, w: Matrix, orders: tuple[float, float]
) -> tuple[float, Matrix]:
    """The loss of prototypes `w [k, d]`, and its slope `[k, d]`."""
    every = Sphere(sphere.centre, sphere.known, sphere.y, sphere.known, sphere.counts, w)
    told, known = one_hot(sphere.y, len(w)), softmax(every.scores(t, w), axis=1)
    p = softmax(sphere.scores(t, w), axis=1)
    answer, each = (entropy(q, a) for q, a in zip((p.mean(0)[None], p), orders, strict=True))
    value = each[0].mean() - answer[0][0]
    value -= np.log(np.maximum((known * told).sum(1), 1e-300)).mean()
    slope = p * (g := (each[1] - answer[1]) / len(p)) - p * (p * g).sum(1, keepdims=True)
    parts = ((sphere.known, (known - told) / len(told)), (sphere.free, slope))
    return float(value), sum(t * (s.T @ x - s.sum(0)[:, None] * w) for x, s in parts)


def entropy(p: Matrix, order: float) -> tuple[Matrix, Matrix]:
    """Tsallis' entropy of each row `[n]`, and its slope `[n, k]`."""
    a = order if abs(order - 1) > 1e-4 else 1 + 1e-4  # Shannon's is the limit
    p = np.maximum(p, 1e-12)
    return (1 - (p**a).sum(1)) / (a - 1), -a * p ** (a - 1) / (a - 1)
