"""Incremental Gaussian discriminant analysis: batches in any order give the model of all rows.

Tyler L. Hayes, Christopher Kanan, 2020, Lifelong Machine Learning with Deep Streaming Linear
Discriminant Analysis, arXiv 1909.01520; the merging of parts: Chan, Golub, LeVeque, 1979.

The model keeps counts, class means and the within-class scatter. Batches a and b of one class add

    n = n_a + n_b,  mean = mean_a + (mean_b - mean_a) n_b / n,
    scatter = scatter_a + scatter_b + (mean_a - mean_b)(mean_a - mean_b)' n_a n_b / n

Everything is float64, the coefficients too, so that the order of batches changes rounding errors
only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.core.contracts import MethodTags, labelled_features
from ilk.core.data import Data, Features, Labels, Logits
from ilk.core.statistics import Statistics
from ilk.maths.covariance import Shrinkage, check_shrinkage, estimate_covariance
from ilk.maths.gaussian import compute_log_prior, fit_discriminant, merge_statistics
from ilk.maths.leave_group_out import compute_gaussian_logits_by_fold
from ilk.maths.leave_one_out import compute_gaussian_logits
from ilk.maths.pca import weighted_mean

CHUNK_SIZE = 4096


@dataclass(frozen=True, eq=False)
class StreamingGaussian:
    """A linear classifier with the statistics it was derived from.

    Attributes:
        weight: `[k, d]` float64.
        bias: `[k]` float64, `-inf` for a class without rows.
        counts: Rows of each class, or their total weight, `[k]`.
        means: Class means, `[k, d]` float64.
        scatter: Within-class scatter, `[d, d]` float64.
    """

    kind: ClassVar[str] = "streaming_gaussian"
    shapes: ClassVar[dict[str, str]] = {
        "weight": "k d",
        "bias": "k",
        "counts": "k",
        "means": "k d",
        "scatter": "d d",
    }

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    counts: NDArray[Any]
    means: NDArray[np.float64]
    scatter: NDArray[np.float64]

    def logits(self, x: Features) -> Logits:
        """Return scores `[n, k]`, float64."""
        return np.asarray(x, np.float64) @ self.weight.T + self.bias


@dataclass(frozen=True)
class StreamingGDA(MethodTags):
    """`GDA(rows="raw")` with an `update`.

    Attributes:
        shrink: Shrinkage intensity in [0, 1], "oas" or "ks"; None is "ks". As in `GDA`.
        uniform: Assume equal priors for all classes with rows.
    """

    supports_weights = True
    fit_cost = 1.0
    exact_extension = True

    shrink: Shrinkage = None
    uniform: bool = False

    def __post_init__(self) -> None:
        check_shrinkage(self.shrink)

    def fit(self, data: Data) -> StreamingGaussian:
        labelled = labelled_features(data, self)
        return self._make_model(_compute_statistics(labelled))

    def update(self, model: StreamingGaussian, data: Data) -> StreamingGaussian:
        """Return the model of all rows of `model` and the labelled rows of `data`, if any.

        Raises:
            ValueError: If the two have different numbers of classes.
        """
        if data.k != len(model.counts):
            raise ValueError(f"the model knows {len(model.counts)} classes, the data {data.k}")
        labelled = data.take((data.y >= 0) & (data.weight > 0))
        if not len(labelled):
            return model
        before = Statistics(model.counts, model.means, model.scatter)
        return self._make_model(merge_statistics(before, _compute_statistics(labelled)))

    def extend(
        self, model: StreamingGaussian, added: Data, statistics: Statistics
    ) -> StreamingGaussian:
        """Return `model` updated with `added`, whose further classes get rows of their own."""
        n_new = added.k - len(model.counts)
        padded = replace(
            model,
            weight=np.pad(model.weight, ((0, n_new), (0, 0))),
            bias=np.pad(model.bias, (0, n_new), constant_values=-np.inf),
            counts=np.pad(model.counts, (0, n_new)),
            means=np.pad(model.means, ((0, n_new), (0, 0))),
        )
        return self.update(padded, added)

    def leave_one_out_logits(
        self,
        model: StreamingGaussian,
        x: Features,
        y: Labels,
        statistics: Statistics,
        group: Labels | None = None,
    ) -> Logits:
        """Return logits `[m, k]` of rows `x [m, d]` of classes `y [m]`, each group left out."""
        if group is not None:
            return compute_gaussian_logits_by_fold(
                statistics, x, y, group, self.shrink, self.uniform
            )
        return compute_gaussian_logits(statistics, x, y, self.shrink, self.uniform)

    def _make_model(self, stats: Statistics) -> StreamingGaussian:
        prior = compute_log_prior(stats, self.uniform)
        rule = fit_discriminant(stats, estimate_covariance(stats, self.shrink), prior)
        present = stats.present
        centred_weight = np.where(present[:, None], rule[0] - rule[0][present].mean(0), 0.0)
        bias = rule[1] - centred_weight @ stats.centre
        return StreamingGaussian(centred_weight, bias, stats.counts, stats.means, stats.scatter)


def _compute_statistics(labelled: Data) -> Statistics:
    """Return counts, means and within-class scatter, accumulated in float64 throughout."""
    x, y, weight = labelled.x, labelled.y, labelled.sample_weight
    counts = labelled.sum_label_weights()
    means, scatter = np.zeros((labelled.k, x.shape[1])), np.zeros((x.shape[1], x.shape[1]))
    for c in np.flatnonzero(counts):
        means[c] = weighted_mean(x[y == c], None if weight is None else weight[y == c])
    for at in range(0, len(x), CHUNK_SIZE):
        rows = slice(at, at + CHUNK_SIZE)
        z = x[rows].astype(np.float64) - means[y[rows]]
        scatter += z.T @ (z if weight is None else z * weight[rows, None])
    return Statistics(counts, means, scatter)
