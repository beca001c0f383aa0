"""Fisher's linear discriminant of the recent history of tracks.

Ruopeng Gao and others, 2025, History-Aware Transformation of ReID Features for Multiple Object
Tracking, arXiv 2503.12562. Classes are tracks; with n_c of the N rows in track c, Sigma_c their
covariance after the shrinkage of Ledoit and Wolf (of standardized rows, scaled back), mu_c the mean
of the track in which recent rows count more, and mu the mean of these over all rows,

    S_w = sum_c (n_c / N) Sigma_c,   S_b = sum_c n_c (mu_c - mu) (mu_c - mu)'
    S_b v = lambda S_w v,  v' S_w v = 1,   largest lambda first, C - 1 of them

Olivier Ledoit, Michael Wolf, 2004, A well-conditioned estimator for large-dimensional covariance
matrices, doi:10.1016/S0047-259X(03)00096-4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Features, Labels
from ilk.core.errors import InputError
from ilk.maths.covariance import ROUNDING, solve_triangular

Matrix = NDArray[np.float64]
RIDGE = 1e-9  # of the mean variance, times 10 until the Cholesky factor exists


@dataclass(frozen=True, eq=False)
class Projection:
    """A linear map of features, `(x - centre) @ axes`.

    Attributes:
        centre: `[d]`.
        axes: `[d, r]`.
        strength: Ratio of the variance between tracks to that within them, along each axis, `[r]`.
    """

    centre: Matrix
    axes: Matrix
    strength: Matrix

    def apply(self, x: Features | Matrix) -> Matrix:
        """Return the projections `[n, r]` of features `[n, d]`."""
        return (np.asarray(x, np.float64) - self.centre) @ self.axes


def fit_history_discriminant(
    x: Features | Matrix, track: Labels, weight: Matrix | None = None
) -> Projection:
    """Return the discriminant of a history of tracks, with one axis fewer than tracks, or `d` axes.

    Args:
        x: Features, `[n, d]`.
        track: Track of each row, `[n]`.
        weight: Weight of each row in the mean of its track, `[n]`, > 0; None weights rows equally.

    Raises:
        InputError: If there are fewer than two tracks, or no track has two different rows.
    """
    rows = np.asarray(x, np.float64)
    _, label, counts = np.unique(track, return_inverse=True, return_counts=True)
    if len(counts) < 2:
        raise InputError("a discriminant needs two tracks or more; the history holds fewer")
    within = compute_within_covariance(rows, label)
    if np.trace(within) <= ROUNDING * float((rows**2).sum(1).mean()):
        raise InputError("no track has two different rows; wait for more of its history")
    means = compute_track_means(rows, label, weight)
    centre = counts @ means / counts.sum()
    root = factor_within(within)
    scaled = solve_triangular(root, ((means - centre) * np.sqrt(counts)[:, None]).T)
    left, singular, _ = np.linalg.svd(scaled, full_matrices=False)
    keep = min(len(counts) - 1, len(left))
    axes = solve_triangular(root, left[:, :keep], transposed=True)
    return Projection(centre, axes, singular[:keep] ** 2)


def factor_within(within: Matrix) -> Matrix:
    """Return the lower Cholesky factor of `within [d, d]`, with the smallest ridge that allows it.

    The ridge is `RIDGE` of the mean variance, times 10 until the factor exists.
    """
    ridge = RIDGE * float(np.trace(within)) / len(within)
    while True:
        try:
            return np.asarray(np.linalg.cholesky(within + ridge * np.eye(len(within))), np.float64)
        except np.linalg.LinAlgError:
            ridge *= 10


def compute_within_covariance(x: Matrix, label: Labels) -> Matrix:
    """Return the mean over rows of the shrunk covariance of their track, `[d, d]`.

    Args:
        x: Features, `[n, d]`.
        label: Track of each row, numbered from 0, `[n]`.
    """
    counts = np.bincount(label)
    parts = (counts[c] * shrink_scaled_covariance(x[label == c]) for c in np.flatnonzero(counts))
    return np.asarray(sum(parts, np.zeros((x.shape[1], x.shape[1]))) / len(x))


def shrink_scaled_covariance(x: Matrix) -> Matrix:
    """Return the Ledoit-Wolf covariance `[d, d]` of standardized `x [n, d]`, scaled back."""
    scale = x.std(0)
    scale[scale == 0] = 1.0
    return shrink_ledoit_wolf((x - x.mean(0)) / scale) * np.outer(scale, scale)


def shrink_ledoit_wolf(x: Matrix) -> Matrix:
    """Return the covariance `[d, d]` of centred rows `x [n, d]`, shrunk to a multiple of identity.

    The intensity is the estimate of Ledoit and Wolf of that which minimizes the expected squared
    error.
    """
    n, d = x.shape
    covariance = x.T @ x / n
    mean_variance = np.trace(covariance) / d
    distance = float(((covariance - mean_variance * np.eye(d)) ** 2).sum())
    squared = (x**2).sum(1)
    error = float((squared**2).sum()) / n**2 - float((covariance**2).sum()) / n
    intensity = 0.0 if distance == 0 else min(1.0, max(0.0, error) / distance)
    return np.asarray((1 - intensity) * covariance + intensity * mean_variance * np.eye(d))


def compute_track_means(x: Matrix, label: Labels, weight: Matrix | None = None) -> Matrix:
    """Return the weighted mean of each track, `[c, d]`.

    Args:
        x: Features, `[n, d]`.
        label: Track of each row, numbered from 0 without gaps, `[n]`.
        weight: Weight of each row, `[n]`, > 0; None weights rows equally.
    """
    w = np.ones(len(x)) if weight is None else weight
    sums = np.zeros((int(label.max()) + 1, x.shape[1]))
    np.add.at(sums, label, x * w[:, None])
    return np.asarray(sums / np.bincount(label, w)[:, None])
