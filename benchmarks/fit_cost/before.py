"""The same results as ilk's own, computed the plain way: the baseline of the speeds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh, svd

from ilk.core.data import Data, Labels, one_hot
from ilk.core.linear_models import Linear, normalize_rows
from ilk.maths.covariance import estimate_covariance, oas_shrinkage, shrink_covariance
from ilk.maths.gaussian import RowSpan, compute_log_prior, compute_statistics, fit_discriminant
from ilk.maths.inverse_temperature import fit_inverse_temperature
from ilk.maths.leave_one_out import leave_one_out_means
from ilk.maths.logistic_regression import PATH_TOLERANCE, PENALTY_PATH, STOP_RATIO
from ilk.maths.pca import fit_pca
from ilk.maths.softmax_regression import SoftmaxRegressions

Array = NDArray[Any]


def score_unknown(train: Data, x: Array) -> Array:
    """Return out-of-distribution scores `[n]` by an SVD and the eigenvectors of the covariance."""
    stats = compute_statistics(train.x, train.y, train.k)
    covariance = shrink_covariance(stats, max(0.5, oas_shrinkage(stats)))
    basis = svd(train.x - stats.centre, full_matrices=False)[2].T
    variance, vectors = eigh(basis.T @ covariance @ basis)
    axes, rest = basis @ vectors, np.trace(covariance) - variance.sum()
    residual_variance = rest / max(1, len(covariance) - len(variance))
    centred = x - stats.centre
    projected = centred @ axes
    outside = np.maximum(np.sum(centred**2, 1) - np.sum(projected**2, 1), 0)
    outside *= len(covariance) > len(variance)
    q, means = (
        projected / np.sqrt(variance),
        (stats.means - stats.centre) @ axes / np.sqrt(variance),
    )
    distances = np.sum(q**2, 1)[:, None] - 2 * q @ means.T + np.sum(means**2, 1)
    return np.asarray(distances.min(1) + outside / residual_variance)


def fit_gda(train: Data) -> Linear:
    """Return GDA in coordinates of the span of the rows, found by QR."""
    span = RowSpan.from_rows(train.x)
    stats = compute_statistics(span.x, train.y, train.k)
    covariance = estimate_covariance(stats, None, train.x.shape[1])
    rule = fit_discriminant(stats, covariance, compute_log_prior(stats))
    return Linear.from_centred(*span.to_features(stats.centre, *rule))


def fit_nearest_mean(train: Data) -> float:
    """Return the inverse temperature of nearest class means, from the scores of all rows."""
    u = normalize_rows(train.x.astype(np.float64) - train.x.mean(0, dtype=np.float64))
    counts, members = train.count_labels(), one_hot(train.y, train.k)
    means = members.T @ u / counts[:, None]
    own = leave_one_out_means(u, train.y, means, counts)
    scores = u @ means.T - 0.5 * np.sum(means**2, axis=1)
    scores[np.arange(len(u)), train.y] = np.sum(u * own, axis=1) - 0.5 * np.sum(own**2, axis=1)
    return fit_inverse_temperature(scores, train.y)


def choose_ridge(train: Data, alphas: Array) -> float:
    """Return the penalty with the least leave-one-out error, by one float64 pass for each."""
    pca, targets = fit_pca(train.x), one_hot(train.y, train.k)
    residual = targets - targets.mean(0)
    moment, errors = pca.scores.T @ residual, []
    for alpha in pca.eigenvalues.mean() * alphas:
        shrunk = pca.eigenvalues + alpha
        leverage = 1 / len(train) + (pca.scores * pca.scores) @ (1 / shrunk)
        left_out = residual - pca.scores @ (moment / shrunk[:, None])
        errors.append(np.sum((left_out / (1 - leverage)[:, None]) ** 2))
    return float(pca.eigenvalues.mean() * alphas[np.argmin(errors)])


def find_nearest(rows: Array, x: Array, k: int, n_candidates: int) -> Labels:
    """Return the `k` nearest rows, `[n, k]`, with an exact distance to each candidate."""
    approximate = np.einsum("ij,ij->i", rows, rows) - 2 * x @ rows.T
    candidates = np.argpartition(approximate, n_candidates - 1, axis=1)[:, :n_candidates]
    candidates = np.sort(candidates, axis=1)
    out = np.empty((len(x), k), np.int64)
    for i in range(0, len(x), 64):
        differences = x[i : i + 64, None].astype(np.float64) - rows[candidates[i : i + 64]]
        exact = np.einsum("nmd,nmd->nm", differences, differences)
        order = np.argsort(exact, axis=1, kind="stable")[:, :k]
        out[i : i + 64] = np.take_along_axis(candidates[i : i + 64], order, axis=1)
    return out


def walk_path(problem: SoftmaxRegressions) -> float:
    """Return the best strength on the path of penalties; the solver forgets between penalties."""
    thetas, losses = problem.init_parameters(), list[float]()
    for strength in PENALTY_PATH:
        thetas, loss = problem.solve(thetas, 1 / strength, PATH_TOLERANCE)
        losses.append(loss)
        if loss > STOP_RATIO * min(losses):
            break
    return float(PENALTY_PATH[np.argmin(losses)])
