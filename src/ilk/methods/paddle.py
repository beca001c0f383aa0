"""Transductive soft k-means around the labelled rows with a preference for few classes.

Ségolène Martin, Malik Boudiaf, Emilie Chouzenoux, Jean-Christophe Pesquet, Ismail Ben Ayed, 2022,
Towards Practical Few-shot Query Sets: Transductive Minimum Description Length Inference (PADDLE),
arXiv 2210.14545. Over memberships u of unlabelled rows x, and class means w,

    minimise  sum_nk u_nk t |x_n - w_k|^2 / 2 + sum_nk u_nk log u_nk - lambda sum_k p_k log p_k

with p = mean_n u_n; labelled rows keep their class. In turn

    u_nk = softmax_k(t (x_n . w_k - |w_k|^2 / 2) + lambda / |Q| log p_k)
    w_k  = (sum of labelled rows + sum_n u_nk x_n) / (their count + sum_n u_nk)

With lambda = |Q|, as in the paper, this is EM for a mixture with estimated class priors: the number
of classes that occur need not be known. Departures: rows are unit vectors about the labelled mean,
which suit nearest means better than features scaled to [0, 1]; t is estimated from labelled rows by
leave-one-out, where the paper has 1; and a guard drops the unlabelled rows where they look harmful,
since with uniform priors, or features that do not cluster about class means, soft k-means is worse
than the means of the labelled rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ilk.core.contracts import MethodTags
from ilk.core.data import Data
from ilk.transduction.gaussian_em import CentredCosine, UnitRows, check_em, run_gaussian_em
from ilk.transduction.guard import fit_guarded


@dataclass(frozen=True, eq=False)
class SoftKMeansPrototypes(CentredCosine):
    """Means of labelled and unlabelled rows, with the log class priors of the latter."""

    kind: ClassVar[str] = "soft_k_means_prototypes"


@dataclass(frozen=True)
class PADDLE(MethodTags):
    """Transductive soft k-means; the nearest class mean where all rows are labelled.

    Attributes:
        balance: lambda / |Q|, the weight of the log class priors, >= 0: 1 is maximum likelihood,
            more prefers fewer classes, 0 assumes uniform priors.
        n_iter: Number of iterations, >= 1.
        guard: Use the unlabelled rows only if they improve accuracy on hidden labelled rows.
    """

    uses_unlabelled = True
    supports_weights = True

    balance: float = 1.0
    n_iter: int = 30
    guard: bool = True

    def __post_init__(self) -> None:
        check_em(self.balance, self.n_iter)

    def fit(self, data: Data) -> SoftKMeansPrototypes:
        return fit_guarded(data, self._fit, self.guard)

    def _fit(self, data: Data) -> SoftKMeansPrototypes:
        rows = UnitRows.from_data(data, self)
        t = rows.fit_inverse_temperature()
        means, v = run_gaussian_em(rows, t, (self.balance,) * self.n_iter, (1.0,) * self.n_iter)
        return SoftKMeansPrototypes(*rows.make_parameters(t, means, self.balance * v))
