"""Finds classes that nobody labelled as Gaussians, and how many there are, by splits and merges.

Bingchen Zhao, Xin Wen, Kai Han, 2023, Learning Semi-supervised Gaussian Mixture Models for
Generalized Category Discovery, arXiv 2305.06144; the ratios are those of Jason Chang, John Fisher,
2013, Parallel Sampling of DP Mixture Models using Sub-Cluster Splits.

In the principal axes of all rows, each class is a Gaussian with a normal-inverse-Wishart prior
(`ilk.maths.wishart`), L the marginal likelihood of its n rows. Rows with a label stay with their
class.

    split   G(n_1)^a L_1 G(n_2)^a L_2 / (G(n)^a L)   G the gamma function, a = 1 + lambda
    merge   the inverse; two known classes are never merged
    rows    argmax_c  log n_c + log Student_c(row), the posterior predictive

Where it departs from the paper, and why:

- A move is made with probability min(1, ratio). The authors' code takes the maximum of that and a
  constant 0.1, which splits a tenth of all groups whatever the evidence says.
- The prior is learnt from the labelled classes (empirical Bayes): theirs is the pooled covariance,
  and kappa and nu are those under which they are likeliest. A constant one knows no scale.
- Real classes are no Gaussians, and with enough rows each would be split into its styles. lambda is
  what it takes, on average over the labelled classes, to keep one whole: the split that suits it
  best, on its labelled rows, has ratio 1. lambda = 0, the paper's, finds too many on pendigits; on
  CIFAR-10, and on Omniglot, where a class has few rows, it comes closer.
- Features stay as they are. The paper tunes the last block of its network by contrasting two views
  of each image, and frozen features have one view.

Classes whose styles differ among each other (handwritten 1 and 9) still come out as two groups: the
number is right to one or two only where the new classes vary as the labelled ones do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ilk.data import Data, Features, Labels, Logits
from ilk.errors import InputError
from ilk.maths.axes import principal
from ilk.maths.partition import Search
from ilk.maths.wishart import Matrix, student
from ilk.models import Facts, learnable


@dataclass(frozen=True, eq=False)
class GaussianGroups:
    """Student densities in principal axes, known classes first.

    Attributes:
        centre, basis: The axes, `[d]` and `[d, r]`.
        mean, whiten, freedom, constant: As `ilk.maths.wishart.student` reads them, of
            k + new groups; the constant is `-inf` for a class never seen.
        path: Number of groups that had a row, after each step of the search.
    """

    centre: Matrix
    basis: Matrix
    mean: Matrix
    whiten: Matrix
    freedom: Matrix
    constant: Matrix
    path: Labels

    def logits(self, x: Features) -> Logits:
        """Scores `[n, k + new]`, float64: log share and log density."""
        z = (np.asarray(x, np.float64) - self.centre) @ self.basis
        return student(z, self.mean, self.whiten, self.freedom, self.constant)


@dataclass(frozen=True)
class GaussianMixtureDiscovery(Facts):
    """Known classes and as many new ones as the rows without a label speak for.

    Attributes:
        new: Number of new classes; None finds it.
        start: New classes that the search begins with; None for as many as there are known.
        axes: Principal axes that are kept, >= 1.
        seed: Draws what is tried, and whether it is taken where the evidence is level.
    """

    discovers: ClassVar[bool] = True

    new: int | None = None
    start: int | None = None
    axes: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.new or 0, self.start or 0) < 0 or self.axes < 1:
            raise ValueError(f"{self} asks for less than nothing; new and start >= 0, axes >= 1")

    def fit(self, data: Data) -> GaussianGroups:
        known = learnable(data, self)
        seen, y = np.flatnonzero(known.counts()), data.y.copy()
        y[y >= 0] = np.searchsorted(seen, y[y >= 0])
        axes, k = principal(np.asarray(data.x, np.float32)), len(seen)
        kept = min(self.axes, len(axes.squares))
        basis = axes.basis[:, :kept] if kept else np.zeros((data.x.shape[1], 1))  # all rows alike
        z = axes.scores[:, :kept] if kept else np.zeros((len(y), 1))
        if (self.new or 0) > np.sum(y < 0):
            raise InputError(f"{self.new} new classes need as many rows without a label; ask less")
        search = Search.of(z, y, k, self.seed)
        answer, path = search.best(k if self.start is None else self.start)
        if self.new is not None:
            answer = search.told(answer, self.new)
        members = search.members(answer)
        at = np.append(seen, data.k + np.arange(len(members.counts) - k))

        def placed(part: Matrix, fill: float = 0.0) -> Matrix:
            out = np.full((data.k + len(at) - k, *part.shape[1:]), fill)
            out[at] = part
            return out

        mean, whiten, freedom, constant = search.prior.predictive(members)
        return GaussianGroups(
            axes.centre,
            basis,
            placed(mean),
            placed(whiten),
            placed(freedom, 1.0),
            placed(constant + np.log(members.counts), -np.inf),
            np.array(path),
        )
