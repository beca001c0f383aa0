"""Transductive EM for a mixture of Dirichlet distributions of softmax probabilities.

Ségolène Martin, Yunshi Huang, Fereshteh Shakeri, Jean-Christophe Pesquet, Ismail Ben Ayed, 2024,
Transductive Zero-Shot and Few-Shot CLIP, arXiv 2405.18437. A row is z = softmax(T cos(x, a_k)) over
the classes' anchors a_k, and

    u_nk = softmax_k(sum_j (alpha_kj - 1) log z_nj + log Gamma(sum_j alpha_kj)
                     - sum_j log Gamma(alpha_kj) + lambda / |Q| log mean_n u_nk)

is followed by the maximum-likelihood alpha. Each step majorises log Gamma(alpha + 1) by
a parabola of curvature c = 2 |log Gamma(1) - log Gamma(a + 1) + a psi(a + 1)| / a^2 and takes the
positive root of

    c alpha^2 + (psi(a + 1) - psi(sum_j a_j) - mean log z - c a) alpha - 1 = 0.

Departures: without text, anchors are the labelled class means, the cosine of a labelled row with
its own is leave-one-out, and T is estimated from those rows. lambda / |Q| is fixed at 1, maximum
likelihood, since the paper's K / K_eff requires the number of classes that occur. A uniform row is
added to each class, so that a single row does not send alpha to infinity; and a guard drops the
unlabelled rows where they look harmful. Without such rows the prediction is the nearest anchor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.core.contracts import MethodTags, class_embeddings_of
from ilk.core.data import Data, Features, Logits, one_hot
from ilk.core.linear_models import apply_affine, normalize_rows
from ilk.core.metrics import log_softmax, softmax
from ilk.maths.gaussian import Matrix
from ilk.transduction.gaussian_em import UnitRows, check_em, compute_log_priors
from ilk.transduction.guard import fit_guarded

FLAT_PRIOR_COUNT = 1.0  # weight of a uniform row in each class
TEXT_INVERSE_TEMPERATURE = 30.0  # the paper's T, for cosines of CLIP
MAX_STEPS, TOLERANCE = 50, 1e-6  # of majorization per iteration, warm-started


@dataclass(frozen=True, eq=False)
class DirichletClassifier:
    """`log z @ weight.T + bias` with `z` the softmax of the scaled cosines with the anchors.

    Attributes:
        centre: Subtracted from the features, `[d]` float32.
        anchors: Of length T, `[k, d]` float32; zeros for a class without labelled rows.
        weight: alpha - 1, `[k, k]` float32; the identity where there were no unlabelled rows.
        bias: `[k]` float32; `-inf` for a class without labelled rows.
    """

    kind: ClassVar[str] = "dirichlet_classifier"
    shapes: ClassVar[dict[str, str]] = {
        "centre": "d",
        "anchors": "k d",
        "weight": "k k",
        "bias": "k",
    }

    centre: Features
    anchors: Features
    weight: Features
    bias: Features

    def logits(self, x: Features) -> Logits:
        """Return scores `[n, k]`, float64."""
        z = normalize_rows(np.asarray(x, np.float64) - self.centre)
        cosines = apply_affine(z, self.anchors, np.where(np.isfinite(self.bias), 0, self.bias))
        return apply_affine(np.maximum(log_softmax(cosines, axis=1), -1e9), self.weight, self.bias)


@dataclass(frozen=True)
class EMDirichlet(MethodTags):
    """Transductive Dirichlet mixture; the nearest anchor where all rows are labelled.

    Attributes:
        balance: lambda / |Q|, the weight of the log class priors, >= 0: 1 is maximum likelihood.
        n_iter: Number of iterations, >= 1.
        hard_assignment: Use memberships of 0 or 1.
        use_class_embeddings: Use the class embeddings as anchors, without centring and with T = 30;
            no labels are needed then.
        guard: Use the unlabelled rows only if they improve accuracy on hidden labelled rows; no
            effect with class embeddings.
    """

    uses_unlabelled = True
    supports_weights = True

    balance: float = 1.0
    n_iter: int = 10
    hard_assignment: bool = False
    use_class_embeddings: bool = False
    guard: bool = True

    def __post_init__(self) -> None:
        check_em(self.balance, self.n_iter)

    def fit(self, data: Data) -> DirichletClassifier:
        return fit_guarded(data, self._fit, self.guard and not self.use_class_embeddings)

    def _fit(self, data: Data) -> DirichletClassifier:
        data = data.take_weighted()
        if self.use_class_embeddings:
            t, centre = TEXT_INVERSE_TEMPERATURE, np.zeros(data.x.shape[1], np.float32)
            anchors = normalize_rows(class_embeddings_of(data, self))
            present = np.full(data.k, True)
            cosines = normalize_rows(data.x) @ anchors.T
        else:
            sphere = UnitRows.from_data(data, self)
            t = sphere.fit_inverse_temperature(normalize=True)
            present, centre = sphere.present, sphere.centre
            anchors, cosines = normalize_rows(sphere.means), np.empty((len(data), data.k))
            cosines[data.y < 0] = sphere.unlabelled @ anchors.T
            cosines[data.y >= 0] = sphere.score_left_out(normalize=True)
        weight, bias = np.eye(data.k), np.zeros(data.k)
        bias[np.logical_not(present)] = -np.inf
        if (data.y < 0).any():
            log_z = log_softmax(t * cosines[:, present], axis=1)
            present_weight, bias[present] = self._fit_dirichlets(
                log_z, one_hot(data.y, data.k)[:, present], data.sample_weight
            )
            weight[np.ix_(present, present)] = present_weight
        scaled = np.where(present[:, None], t * anchors, 0.0)
        arrays = (a.astype(np.float32) for a in (scaled, weight, bias))
        return DirichletClassifier(centre, *arrays)

    def _fit_dirichlets(
        self, log_z: Matrix, targets: Matrix, row_weight: Matrix | None
    ) -> tuple[Matrix, Matrix]:
        """Return weight `[k, k]` and bias `[k]` after EM, from one-hot labels `targets [n, k]`."""
        from scipy.special import gammaln

        is_unlabelled = targets.sum(axis=1) == 0
        free_weight = None if row_weight is None else row_weight[is_unlabelled]
        u = np.where(is_unlabelled[:, None], np.exp(log_z), targets)
        alpha = np.ones((log_z.shape[1],) * 2)
        for _ in range(self.n_iter):
            flat_log = -FLAT_PRIOR_COUNT * np.log(len(alpha))
            w = u if row_weight is None else u * row_weight[:, None]
            mean_log = (w.T @ log_z + flat_log) / (w.sum(0) + FLAT_PRIOR_COUNT)[:, None]
            alpha = fit_dirichlet(mean_log, alpha)
            bias = gammaln(alpha.sum(1)) - gammaln(alpha).sum(1)
            bias += self.balance * compute_log_priors(u[is_unlabelled], free_weight)
            scores = log_z[is_unlabelled] @ (alpha - 1).T + bias
            u[is_unlabelled] = self._compute_memberships(scores)
        return alpha - 1, bias

    def _compute_memberships(self, scores: Matrix) -> Matrix:
        return (
            one_hot(scores.argmax(1), scores.shape[1])
            if self.hard_assignment
            else softmax(scores, axis=1)
        )


def fit_dirichlet(mean_log: Matrix, start: Matrix) -> NDArray[np.float64]:
    """Return maximum-likelihood Dirichlet parameters `[k, j]` by majorization.

    Args:
        mean_log: Mean of log z for each class, `[k, j]`.
        start: Starting point, `[k, j]`, > 0.
    """
    from scipy.special import gammaln, psi

    a = start
    for _ in range(MAX_STEPS):
        digamma_next = psi(a + 1)
        c = 2 * np.abs(a * digamma_next - gammaln(a + 1)) / a**2
        b = digamma_next - psi(a.sum(1, keepdims=True)) - mean_log - c * a
        a, previous = (-b + np.sqrt(b**2 + 4 * c)) / (2 * c), a
        if np.all(np.abs(a - previous) < TOLERANCE * previous):
            break
    return a
