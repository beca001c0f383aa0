"""Few labels and many rows without: answers as points of a simplex, with a Dirichlet law a class.

Ségolène Martin, Yunshi Huang, Fereshteh Shakeri, Jean-Christophe Pesquet, Ismail Ben Ayed, 2024,
Transductive Zero-Shot and Few-Shot CLIP, arXiv 2405.18437. A row is z = softmax(T cos(x, a_k)) over
the classes' anchors a_k, and

    u_nk = softmax_k(sum_j (alpha_kj - 1) log z_nj + log Gamma(sum_j alpha_kj)
                     - sum_j log Gamma(alpha_kj) + lambda / |Q| log mean_n u_nk)

is followed by the alpha that make the rows likeliest. Each step majorises log Gamma(alpha + 1) by
a parabola of curvature c = 2 |log Gamma(1) - log Gamma(a + 1) + a psi(a + 1)| / a^2 and takes the
positive root of

    c alpha^2 + (psi(a + 1) - psi(sum_j a_j) - mean log z - c a) alpha - 1 = 0.

We depart in four things. Without text, anchors are the labelled class means, and a labelled row's
cosine with its own is taken without that row. T is then estimated from those rows. lambda / |Q| is
fixed at 1, maximum likelihood, for the paper's K / K_eff must be told how many classes turn up.
Each class has a flat row's worth of z, so that a single row does not send alpha to infinity; and a
guard answers without the unlabelled rows where they look harmful. Without such rows the answer is
the nearest anchor. Anchors that are means of a few rows make a poorer simplex than text does: from
them, without text, it seldom beats the nearest class mean (`ilk bench few_labels`). With text and
the paper's K / K_eff told, errors halve where names serve well and two of ten classes turn up;
untold, it gains little there, and on images of another kind a wrong start is followed faithfully.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, psi

from ilk.data import Data, Features, Logits, one_hot
from ilk.maths.gaussian import Matrix
from ilk.metrics import log_softmax, softmax
from ilk.models import Facts, affine, hinted, unit_rows
from ilk.unlabelled.guarded import guarded
from ilk.unlabelled.transduction import Sphere, log_shares

FLAT = 1.0  # rows' worth
TEXT_SHARPNESS = 30.0  # the paper's T, for cosines of CLIP
STEPS, CLOSE = 50, 1e-6  # of majorisation a round, each from where the last one ended


@dataclass(frozen=True, eq=False)
class Simplex:
    """`log z @ weight.T + bias` with `z` the softmax of `x`'s cosines with the anchors.

    Attributes:
        centre: Taken off first, `[d]` float32.
        anchors: Of length T, `[k, d]` float32; zeros for a class never seen.
        weight: alpha - 1, `[k, k]` float32; the identity where there was no unlabelled row.
        bias: `[k]` float32; `-inf` for a class never seen.
    """

    centre: Features
    anchors: Features
    weight: Features
    bias: Features

    def logits(self, x: Features) -> Logits:
        """Scores `[n, k]`, float64."""
        z = unit_rows(np.asarray(x, np.float64) - self.centre)
        cosines = affine(z, self.anchors, np.where(np.isfinite(self.bias), 0, self.bias))
        return affine(np.maximum(log_softmax(cosines, axis=1), -1e9), self.weight, self.bias)


@dataclass(frozen=True)
class EMDirichlet(Facts):
    """Transductive EM with Dirichlet laws; the nearest anchor where all rows have a label.

    Attributes:
        balance: lambda / |Q|, the weight of the log shares, >= 0: 1 is maximum likelihood.
        rounds: Of memberships and laws, >= 1.
        hard: Memberships are 0 or 1.
        text: Anchors are the hints, as cosines stand, with T = 30; no label is needed then.
        guard: Answer without the unlabelled rows unless hidden labelled rows speak for them; of no
            effect with text, where nothing says that few labels are better.
    """

    uses_unlabelled = True

    balance: float = 1.0
    rounds: int = 10
    hard: bool = False
    text: bool = False
    guard: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.balance < np.inf:
            raise ValueError(f"balance is {self.balance}; it must be at least 0")
        if self.rounds < 1:
            raise ValueError(f"rounds is {self.rounds}; at least 1 is needed")

    def fit(self, data: Data) -> Simplex:
        return guarded(data, self._fit) if self.guard and not self.text else self._fit(data)

    def _fit(self, data: Data) -> Simplex:
        if self.text:
            t, centre = TEXT_SHARPNESS, np.zeros(data.x.shape[1], np.float32)
            anchors, seen = unit_rows(hinted(data, self)), np.full(data.k, True)
            cosines = unit_rows(data.x) @ anchors.T
        else:
            sphere = Sphere.of(data, self)
            t, seen, centre = sphere.sharpness(unit=True), sphere.seen, sphere.centre
            anchors, cosines = unit_rows(sphere.means), np.empty((len(data), data.k))
            cosines[data.y < 0] = sphere.free @ anchors.T
            cosines[data.y >= 0] = sphere.left_out(unit=True)
        weight, bias = np.eye(data.k), np.zeros(data.k)
        bias[np.logical_not(seen)] = -np.inf
        if (data.y < 0).any():
            log_z = log_softmax(t * cosines[:, seen], axis=1)
            inner, bias[seen] = self._laws(log_z, one_hot(data.y, data.k)[:, seen])
            weight[np.ix_(seen, seen)] = inner
        scaled = np.where(seen[:, None], t * anchors, 0.0)
        made = (a.astype(np.float32) for a in (scaled, weight, bias))
        return Simplex(centre, *made)

    def _laws(self, log_z: Matrix, told: Matrix) -> tuple[Matrix, Matrix]:
        """Weight `[k, k]` and bias `[k]` after all rounds; `told [n, k]` are the labels."""
        free = told.sum(axis=1) == 0
        u = np.where(free[:, None], np.exp(log_z), told)
        alpha = np.ones((log_z.shape[1],) * 2)
        for _ in range(self.rounds):
            flat = -FLAT * np.log(len(alpha))
            alpha = likeliest((u.T @ log_z + flat) / (u.sum(0) + FLAT)[:, None], alpha)
            bias = gammaln(alpha.sum(1)) - gammaln(alpha).sum(1)
            bias += self.balance * log_shares(u[free])
            scores = log_z[free] @ (alpha - 1).T + bias
            u[free] = self._memberships(scores)
        return alpha - 1, bias

    def _memberships(self, scores: Matrix) -> Matrix:
        return one_hot(scores.argmax(1), scores.shape[1]) if self.hard else softmax(scores, axis=1)


def likeliest(mean_log: Matrix, start: Matrix) -> NDArray[np.float64]:
    """The Dirichlet parameters `[k, j]` that fit a mean of log z `[k, j]`, by majorisation."""
    a = start
    for _ in range(STEPS):
        above = psi(a + 1)
        c = 2 * np.abs(a * above - gammaln(a + 1)) / a**2
        b = above - psi(a.sum(1, keepdims=True)) - mean_log - c * a
        a, last = (-b + np.sqrt(b**2 + 4 * c)) / (2 * c), a
        if np.all(np.abs(a - last) < CLOSE * last):
            break
    return a
