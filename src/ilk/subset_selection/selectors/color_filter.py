"""Conditional loss reduction: rows that a model of the target predicts better than a prior model.

David Brandfonbrener, Hanlin Zhang, Andreas Kirsch, Jonathan Richard Schwarz, Sham Kakade, 2024,
CoLoR-Filter: Conditional Loss Reduction Filtering for Targeted Language Model Pre-training,
arXiv 2406.10670, equation 5.

    score(x) = -log p(x | theta_prior) - ( -log p(x | theta_conditional) )

with theta_prior fitted to the source and theta_conditional tuned from it on the target for one
epoch. Here both are mixtures of Gaussians with one variance per feature, one component per class of
the source (or cluster, where labels are missing), and the epoch is one step of expectation
maximization on the target towards which the prior pulls with the weight of `relevance` rows
(Douglas A. Reynolds, Thomas F. Quatieri, Robert B. Dunn, 2000, doi:10.1006/dspr.1999.0361).
`compute_loss_reduction` is the score of any two models, such as language models.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Data, Labels
from ilk.maths.kmeans import fit_kmeans
from ilk.subset_selection.selectors.selector import (
    Scores,
    SelectorTags,
    require_target,
    standardize,
)

SHRINKAGE = 0.1  # of the variances towards their mean, so that no feature decides alone
Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Mixture:
    """A mixture of Gaussians with one variance per feature.

    Attributes:
        log_weight: Log weights of the components, `[k]`.
        means: `[k, d]`.
        variance: `[d]`, > 0.
    """

    log_weight: Matrix
    means: Matrix
    variance: Matrix

    @classmethod
    def from_parts(cls, x: Matrix, part: Labels) -> Mixture:
        """Return the mixture of rows `x [n, d]` whose component is known: `part [n]`, 0 to k - 1.

        Every component has rows.
        """
        counts = np.bincount(part)
        means = np.stack([x[part == c].mean(0) for c in range(len(counts))])
        variance = np.mean((x - means[part]) ** 2, axis=0)
        mean = float(variance.mean()) or 1.0
        variance = (1 - SHRINKAGE) * variance + SHRINKAGE * mean
        return cls(np.log(counts / len(x)), means, variance)

    def compute_log_joint(self, x: Matrix) -> Matrix:
        """Return `log w_c + log N(x; mu_c, diag(variance))`, `[n, k]`."""
        root = np.sqrt(self.variance)
        z, m = x / root, self.means / root
        squares = (z**2).sum(1)[:, None] - 2 * z @ m.T + (m**2).sum(1)
        constant = x.shape[1] * np.log(2 * np.pi) + np.log(self.variance).sum()
        return np.asarray(self.log_weight - 0.5 * (squares + constant))

    def compute_loss(self, x: Matrix) -> Matrix:
        """Return `-log p(x)` of rows `[n, d]`, in nats, `[n]`."""
        joint = self.compute_log_joint(x)
        peak = joint.max(1)
        return np.asarray(-peak - np.log(np.exp(joint - peak[:, None]).sum(1)))

    def adapt(self, x: Matrix, relevance: float) -> Mixture:
        """Return the mixture after one step of expectation maximization on rows `x [m, d]`.

        Weights and means move; the prior counts as much as `relevance` rows in every component.
        """
        joint = self.compute_log_joint(x)
        share = np.exp(joint - joint.max(1, keepdims=True))
        share /= share.sum(1, keepdims=True)
        mass = share.sum(0)
        means = (share.T @ x + relevance * self.means) / (mass + relevance)[:, None]
        weight = mass + relevance * np.exp(self.log_weight)
        return replace(self, log_weight=np.log(weight / weight.sum()), means=means)


@dataclass(frozen=True)
class ColorFilter(SelectorTags):
    """Fall of the loss from a model of the source to one that is tuned to the target.

    Attributes:
        relevance: Rows of the target that weigh as much as the prior in a component, > 0.
        clusters: Components where rows have no label, >= 1; fewer if there are fewer rows.
    """

    needs_target: ClassVar[bool] = True

    relevance: float = 4.0
    clusters: int = 20

    def __post_init__(self) -> None:
        if not 0 < self.relevance < np.inf or self.clusters < 1:
            raise ValueError(
                f"relevance is {self.relevance} and clusters {self.clusters}; give numbers above 0"
            )

    def score(self, source: Data, target: Data | None, seed: int) -> Scores:
        """Return the loss reduction, `[n]`, in nats."""
        x, t = standardize(source.x, require_target(target).x)
        if bool((source.y >= 0).all()):
            part = np.unique(source.y, return_inverse=True)[1].astype(np.int64)
        else:
            n = min(self.clusters, len(x))
            part = fit_kmeans(x, np.full(len(x), -1), n, n_init=2, seed=seed).assignment
            part = np.unique(part, return_inverse=True)[1].astype(np.int64)
        prior = Mixture.from_parts(x, part)
        conditional = prior.adapt(t, self.relevance)
        return compute_loss_reduction(prior.compute_loss(x), conditional.compute_loss(x))


def compute_loss_reduction(prior: Matrix, conditional: Matrix) -> Scores:
    """Return the losses `[n]` under the prior model minus those under the conditional one.

    Raises:
        ValueError: The shapes differ, or a loss is not finite.
    """
    first, second = (np.asarray(loss, np.float64) for loss in (prior, conditional))
    if first.shape != second.shape:
        raise ValueError(f"losses of shapes {first.shape} and {second.shape}; give one pair a row")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("a loss is not finite")
    return np.asarray(first - second)
