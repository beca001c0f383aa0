"""Gaussian mixture with known and new classes; their number is found by split and merge moves.

Bingchen Zhao, Xin Wen, Kai Han, 2023, Learning Semi-supervised Gaussian Mixture Models for
Generalized Category Discovery, arXiv 2305.06144; the acceptance ratios: Jason Chang, John Fisher,
2013, Parallel Sampling of DP Mixture Models using Sub-Cluster Splits.

In the principal components of all rows, each class is a Gaussian with a normal-inverse-Wishart
prior (`ilk.maths.normal_inverse_wishart`), and L is the marginal likelihood of its n rows. Labelled
rows stay in their class.

    split   G(n_1)^a L_1 G(n_2)^a L_2 / (G(n)^a L)   G the gamma function, a = 1 + lambda
    merge   the inverse; two known classes are never merged
    rows    argmax_c  log n_c + log Student_c(row), the posterior predictive

Departures:

- A move is accepted with probability min(1, ratio). The authors' code uses the maximum of that and
  a constant 0.1, which splits a tenth of all groups regardless of the evidence.
- The prior is estimated from the labelled classes (empirical Bayes): the scale is their pooled
  covariance, and kappa and nu maximize their likelihood. A constant prior has no scale.
- Real classes are not Gaussian and with enough rows each would be split. lambda is the value that,
  on average over the labelled classes, keeps a class whole: the best split of its labelled rows has
  ratio 1. The paper has lambda = 0.
- Features are frozen. The paper tunes the last block of its network by contrasting two views of
  each image.

Limitation: new classes with more internal variation than the labelled ones are split, so that their
number is overestimated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ilk.core.contracts import DiscoveryTags, labelled_features
from ilk.core.data import Data, Features, Labels, Logits
from ilk.core.errors import InputError
from ilk.maths.normal_inverse_wishart import Matrix, student_log_pdf
from ilk.maths.pca import fit_pca
from ilk.maths.split_merge import SplitMergeSearch


@dataclass(frozen=True, eq=False)
class StudentMixture:
    """Student densities in principal components, known classes first.

    Attributes:
        centre: Mean of all rows, `[d]`.
        basis: Principal directions, `[d, r]`.
        mean: Location of each density, `[k + new, r]`.
        whitening: Its whitening matrix, `[k + new, r, r]`; see
            `ilk.maths.normal_inverse_wishart.student_log_pdf`.
        degrees: Its degrees of freedom, `[k + new]`.
        constant: Log weight and normalization, `[k + new]`; `-inf` for a class without rows.
        group_counts: Number of non-empty groups after each step of the search.
    """

    kind: ClassVar[str] = "student_mixture"
    shapes: ClassVar[dict[str, str]] = {
        "centre": "d",
        "basis": "d r",
        "mean": "c r",
        "whitening": "c r r",
        "degrees": "c",
        "constant": "c",
        "group_counts": "g",
    }

    centre: Matrix
    basis: Matrix
    mean: Matrix
    whitening: Matrix
    degrees: Matrix
    constant: Matrix
    group_counts: Labels

    def logits(self, x: Features) -> Logits:
        """Return scores `[n, k + new]`, float64: log weight plus log density."""
        z = (np.asarray(x, np.float64) - self.centre) @ self.basis
        return student_log_pdf(z, self.mean, self.whitening, self.degrees, self.constant)


@dataclass(frozen=True)
class GaussianMixtureDiscovery(DiscoveryTags):
    """Mixture of the known classes and of new ones among the unlabelled rows.

    Attributes:
        n_new: Number of new classes, >= 0; None estimates it.
        n_start: Number of new classes that the search starts with, >= 0; None starts with the
            number of known classes.
        n_components: Number of principal components, >= 1.
        seed: Seed of the proposals and of their acceptance.
    """

    n_new: int | None = None
    n_start: int | None = None
    n_components: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.n_new or 0, self.n_start or 0) < 0 or self.n_components < 1:
            raise ValueError(
                f"n_new is {self.n_new}, n_start {self.n_start} and n_components "
                f"{self.n_components}; they must be at least 0, 0 and 1"
            )

    def fit(self, data: Data) -> StudentMixture:
        known = labelled_features(data, self)
        data = data if (data.weight > 0).all() else data.take(data.weight > 0)
        present, y = np.flatnonzero(known.count_labels()), data.y.copy()
        y[y >= 0] = np.searchsorted(present, y[y >= 0])
        pca, k = fit_pca(np.asarray(data.x, np.float32)), len(present)
        n_kept = min(self.n_components, len(pca.eigenvalues))
        basis = pca.basis[:, :n_kept] if n_kept else np.zeros((data.x.shape[1], 1))  # equal rows
        z = pca.scores[:, :n_kept] if n_kept else np.zeros((len(y), 1))
        if (self.n_new or 0) > np.sum(y < 0):
            raise InputError(f"{self.n_new} new classes need as many unlabelled rows; reduce n_new")
        search = SplitMergeSearch.from_labels(z, y, k, self.seed)
        assignment, group_counts = search.search(k if self.n_start is None else self.n_start)
        if self.n_new is not None:
            assignment = search.reach_group_count(assignment, self.n_new)
        groups = search.compute_statistics(assignment)
        columns = np.append(present, data.k + np.arange(len(groups.counts) - k))

        def place_columns(part: Matrix, fill: float = 0.0) -> Matrix:
            out = np.full((data.k + len(columns) - k, *part.shape[1:]), fill)
            out[columns] = part
            return out

        mean, whiten, freedom, constant = search.prior.compute_predictive(groups)
        return StudentMixture(
            pca.centre,
            basis,
            place_columns(mean),
            place_columns(whiten),
            place_columns(freedom, 1.0),
            place_columns(constant + np.log(groups.counts), -np.inf),
            np.array(group_counts),
        )
