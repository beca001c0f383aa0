"""Linear discriminant of rows, in the smallest space that holds them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.core.linear_models import Linear
from ilk.core.statistics import Statistics
from ilk.maths.covariance import (
    Shrinkage,
    compute_covariance_terms,
    estimate_covariance,
    has_scatter,
)
from ilk.maths.gaussian import (
    Matrix,
    RowSpan,
    compute_log_prior,
    compute_statistics,
    fit_discriminant,
)
from ilk.maths.shared_covariance import SharedCovariance, compute_smaller_statistics

MIN_IDENTITY_RATIO = 1e-6  # b over the mean of the other eigenvalues, below which digits are lost


def fit_rows_discriminant(
    x: NDArray[Any],
    y: Labels,
    k: int,
    shrink: Shrinkage = None,
    uniform: bool = False,
    weight: Matrix | None = None,
) -> Linear:
    """Return the log posterior of Gaussians with one covariance as a linear classifier.

    With fewer rows than features the covariance is factored in the space of the rows, and where it
    is not shrunk enough for that, in the coordinates of their span.

    Args:
        x: Rows, `[n, d]`.
        y: Class of each row, `[n]`, 0 to k - 1.
        k: Number of classes.
        shrink: Shrinkage, as in `ilk.maths.covariance.estimate_covariance`.
        uniform: Assume equal priors for all classes with rows.
        weight: How many times each row counts, `[n]`, > 0; None counts each once.
    """
    if len(x) >= x.shape[1]:
        return _fit_in_span(x, y, k, shrink, uniform, weight)
    stats, rows = compute_smaller_statistics(x, y, k, weight)
    if not _is_shrunk_enough(stats, shrink, x.shape[1]):
        return _fit_in_span(x, y, k, shrink, uniform, weight)
    means = np.where(stats.present[:, None], stats.means - stats.centre, 0.0)
    weights = SharedCovariance.from_statistics(stats, shrink, rows).solve(means.T).T
    bias = compute_log_prior(stats, uniform) - 0.5 * np.einsum("kd,kd->k", weights, means)
    return Linear.from_centred(stats.centre, weights, bias)


def _is_shrunk_enough(stats: Statistics, shrink: Shrinkage, n_features: int) -> bool:
    """Return whether `SharedCovariance.solve` is accurate, for statistics with ZZ' as scatter."""
    a, b = compute_covariance_terms(stats, shrink, n_features)
    mean_eigenvalue = a * float(np.trace(stats.scatter)) / len(stats.scatter)
    return b > MIN_IDENTITY_RATIO * mean_eigenvalue and has_scatter(stats)


def _fit_in_span(
    x: NDArray[Any], y: Labels, k: int, shrink: Shrinkage, uniform: bool, weight: Matrix | None
) -> Linear:
    """Return the same as `fit_rows_discriminant`, fitted to coordinates in the span of the rows."""
    span = RowSpan.from_rows(x)
    stats = compute_statistics(span.x, y, k, weight=weight)
    covariance = estimate_covariance(stats, shrink, x.shape[1])
    rule = fit_discriminant(stats, covariance, compute_log_prior(stats, uniform))
    return Linear.from_centred(*span.to_features(stats.centre, *rule))
