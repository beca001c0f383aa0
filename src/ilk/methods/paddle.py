"""Few labels and many rows without: soft k-means about the labelled rows that prefers few classes.

Ségolène Martin, Malik Boudiaf, Emilie Chouzenoux, Jean-Christophe Pesquet, Ismail Ben Ayed, 2022,
Towards Practical Few-shot Query Sets: Transductive Minimum Description Length Inference (PADDLE),
arXiv 2210.14545. Over memberships u of rows x without a label, and class means w,

    minimise  sum_nk u_nk t |x_n - w_k|^2 / 2 + sum_nk u_nk log u_nk - lambda sum_k p_k log p_k

with p = mean_n u_n; labelled rows keep their class. In turn

    u_nk = softmax_k(t (x_n . w_k - |w_k|^2 / 2) + lambda / |Q| log p_k)
    w_k  = (sum of labelled rows + sum_n u_nk x_n) / (their count + sum_n u_nk)

With lambda = |Q|, as in the paper, this is EM for a mixture whose shares are learnt: no number of
classes that turn up has to be known. We depart in three things: rows are directions about the
labelled mean, which serve nearest means better than features scaled to [0, 1]; t is estimated from
labelled rows scored without themselves, where the paper has 1; and a guard answers without the
unlabelled rows where they look harmful, for with even shares, or with features in which rows do not
gather about class means, soft k-means is worse than the means of the labelled rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ilk.data import Data
from ilk.models import Facts
from ilk.unlabelled.guarded import guarded
from ilk.unlabelled.transduction import Directions, Sphere, gaussian_em


@dataclass(frozen=True, eq=False)
class Prototypes(Directions):
    """Means of labelled and unlabelled rows, and the weighted log shares of the latter."""


@dataclass(frozen=True)
class Paddle(Facts):
    """Transductive soft k-means; the nearest class mean where all rows have a label.

    Attributes:
        balance: lambda / |Q|, the weight of the log shares, >= 0: 1 is maximum likelihood, more
            prefers fewer classes, 0 takes all as equally likely.
        rounds: Of memberships and means, >= 1.
        guard: Answer without the unlabelled rows unless hidden labelled rows speak for them.
    """

    uses_unlabelled = True

    balance: float = 1.0
    rounds: int = 30
    guard: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.balance < np.inf:
            raise ValueError(f"balance is {self.balance}; it must be at least 0")
        if self.rounds < 1:
            raise ValueError(f"rounds is {self.rounds}; at least 1 is needed")

    def fit(self, data: Data) -> Prototypes:
        return guarded(data, self._fit) if self.guard else self._fit(data)

    def _fit(self, data: Data) -> Prototypes:
        sphere = Sphere.of(data, self)
        t = sphere.sharpness()
        means, v = gaussian_em(sphere, t, (self.balance,) * self.rounds, (1.0,) * self.rounds)
        return Prototypes(*sphere.rule(t, means, self.balance * v))
